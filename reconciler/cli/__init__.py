"""The commands, and the only code that prints."""
