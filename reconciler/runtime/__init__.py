"""Mechanics without the domain: clock, back-off, slots, supervision."""
