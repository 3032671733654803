"""One file per resource kind, and the tuple KINDS."""
