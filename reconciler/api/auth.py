"""Headers that say who we are."""

from base64 import b64encode

from reconciler import __version__
from reconciler.settings import PROTECTED_HEADERS, ConnectionSettings

USER_AGENT = f"prefect-reconciler/{__version__}"


def headers(settings: ConnectionSettings) -> dict[str, str]:
    """Return the headers of every request.

    The auth string wins over the key; a custom `Authorization` wins over both, as in Prefect's
    own client (3.8.8: its source). Protected names among the custom headers are left out.
    """
    own = {"User-Agent": USER_AGENT, "Accept": "application/json"}
    if settings.auth_string is not None:
        pair = settings.auth_string.get_secret_value().encode()
        own["Authorization"] = f"Basic {b64encode(pair).decode()}"
    elif settings.api_key is not None:
        own["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    custom = {
        name: value.get_secret_value()
        for name, value in settings.custom_headers.items()
        if name.lower() not in PROTECTED_HEADERS
    }
    replaced = {name.lower() for name in custom}
    return {n: v for n, v in own.items() if n.lower() not in replaced} | custom


def refused_headers(settings: ConnectionSettings) -> list[str]:
    """Return the custom headers that are left out since they are protected."""
    return sorted(name for name in settings.custom_headers if name.lower() in PROTECTED_HEADERS)
