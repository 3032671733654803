"""One launcher per infrastructure type, and the tuple INFRASTRUCTURE."""
