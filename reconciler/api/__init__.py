"""The only door to Prefect: client, wire shapes and calls."""
