"""Kubernetes jobs as infrastructure of flow runs. So far the manifest; the launcher is on its way."""
