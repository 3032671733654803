"""JSON written as text, where Prefect takes a mapping or list for it too."""

import json


def from_json_text(value: object) -> object:
    """Parse text that holds a JSON mapping or list; anything else is returned as it is.

    Prefect takes `customizations` so, and a service account's key is best kept in a secret store
    as the file that Google gave, which is JSON text.
    """
    if not isinstance(value, str):
        return value
    try:
        parsed = json.loads(value)
    except ValueError:
        return value
    return parsed if isinstance(parsed, dict | list) else value
