"""GitOps for Prefect: deployments and infrastructure blocks from git, and the agent that runs them."""

__version__ = "0.1.0"
