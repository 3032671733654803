"""Slack and generic webhooks."""
