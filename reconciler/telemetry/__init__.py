"""Structured logs with redaction, and every metric."""
