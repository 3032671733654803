"""The pipeline (read it first) and what triggers it."""
