"""Google Cloud Run jobs as infrastructure of flow runs. So far the request; more is on its way."""
