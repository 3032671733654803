"""Observe, plan, apply, verify: how the live state is made to match the desired one."""
