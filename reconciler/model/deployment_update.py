"""Which request carries an update of a deployment, and what goes with it.

One request carries it in every case:

| what changes                                           | 2.20.26 | 3.8.8   | why                       |
|--------------------------------------------------------|---------|---------|---------------------------|
| description, version, tags, paused, path, entrypoint,  | PATCH   | PATCH   | keeps whatever it doesn't |
| infrastructure, storage, job_variables, work queue and |         |         | name, schedule ids too    |
| pool, plain parameters, enforce_parameter_schema       |         |         |                           |
| parameters with `__prefect_kind`                       | re-POST | re-POST | PATCH stores their values |
| parameter_openapi_schema, pull_steps                   | re-POST | PATCH   | unknown to PATCH on 2.20  |
| labels                                                 | -       | re-POST | unknown to PATCH          |
| concurrency_limit, concurrency_options                 | -       | PATCH   | with the shared limit let |
|                                                        |         |         | go first, else its number |
|                                                        |         |         | changes for everybody     |
| manifest_path                                          | PATCH   | -       |                           |
| schedules                                              | PATCH   | PATCH   | replaces all; on 3.x those|
|                                                        |         |         | with slugs stay in place  |
| schedules, where live ones have slugs and one of them  | -       | re-POST | PATCH never removes a slug|
| goes or one without slug comes                         |         |         | (204 or 422)              |
| anything, while a schema is enforced that isn't there  | re-POST | re-POST | PATCH answers 409         |

A re-POST carries every live value: 2.20 resets what is left out, and both replace the schedules
(facts: "omitted fields on re-POST"; Prefect 2.20.26 and 3.8.8: tried).
"""

from reconciler.model.deployment_fields import DEFAULT_POOL, FIELDS, has_kinds, shares_limit
from reconciler.model.live import Live
from reconciler.model.values import Fields, Value

_QUEUE = ("work_queue_name", "work_pool_name")


def needs_post(live: Live, fields: Fields, *, v2: bool) -> bool:
    """Tell whether only a POST can carry the change."""
    unknown = any(not (FIELDS[name].patch_v2 if v2 else FIELDS[name].patch_v3) for name in fields)
    enforced = fields.get("enforce_parameter_schema", live.fields["enforce_parameter_schema"])
    without_schema = not isinstance(live.raw.get("parameter_openapi_schema"), dict)
    return (
        unknown
        or has_kinds(fields.get("parameters"))
        or bool(enforced and without_schema)
        or (not v2 and "schedules" in fields and _loses_slug(live, fields))
    )


def _loses_slug(live: Live, fields: Fields) -> bool:
    """Tell whether PATCH on 3.x would refuse the schedules, or keep one that must go."""
    before, after = _slugs(live.fields["schedules"]), _slugs(fields["schedules"])
    return bool(before) and all(before) and not (set(before) <= set(after) and all(after))


def _slugs(schedules: Value) -> list[str | None]:
    return [item.get("slug") for item in schedules] if isinstance(schedules, list) else []


def patched(live: Live, fields: Fields, *, v2: bool) -> dict[str, Value]:
    """Return what a PATCH sends: the fields, and what must go with them."""
    whole = {**fields, **_queue(live, fields), **_limit(live, fields)}
    if v2 and whole.get("work_pool_name") not in (None, DEFAULT_POOL):
        # 2.20 checks the variables of the request against the pool, absent ones as null.
        whole.setdefault("job_variables", live.fields["job_variables"])
    return whole


def rewritten(live: Live, fields: Fields) -> dict[str, Value]:
    """Return what a re-POST sends: every live value with the fields over it."""
    apart = (*_QUEUE, "concurrency_limit")  # the limit stays by itself
    kept = {name: value for name, value in live.fields.items() if name not in apart}
    queue = _queue(live, fields) or {name: live.fields[name] for name in _QUEUE}
    return {**kept, **queue, **fields, **_limit(live, fields)}


def _queue(live: Live, fields: Fields) -> dict[str, Value]:
    """Return queue and pool where one of them is written, since either alone changes the other too.

    A queue without pool is one of the default agent pool; a pool without queue its default queue.
    """
    if not any(name in fields for name in _QUEUE):
        return {}
    whole = {name: fields.get(name, live.fields[name]) for name in _QUEUE}
    return {name: value for name, value in whole.items() if value is not None}


def _limit(live: Live, fields: Fields) -> dict[str, Value]:
    """Let a shared concurrency limit go before one of the deployment's own is written."""
    if "concurrency_limit" in fields and shares_limit(live.raw):
        return {"global_concurrency_limit_id": None}
    return {}
