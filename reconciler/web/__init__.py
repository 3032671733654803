"""Dashboard, JSON API, webhooks and metrics."""
