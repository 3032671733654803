"""Typed schemas of the block types that we register, check and launch."""
