"""Slack and generic webhooks."""

from reconciler.notify.receivers import Receiver, slack, webhook
from reconciler.notify.templates import Template

__all__ = ["Receiver", "Template", "slack", "webhook"]
