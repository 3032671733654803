"""What every plan asks the server for, whatever it is about."""

from reconciler.api import deployments
from reconciler.api.client import Api
from reconciler.engine import documents


def foresee(api: Api) -> None:
    """Ask ahead for the inventories, and for deployments, which hardly any tree is without."""
    documents.foresee(api, documents.INVENTORY_TYPE)
    deployments.foresee(api)
