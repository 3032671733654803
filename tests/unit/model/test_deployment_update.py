"""Which request carries an update: the table of `deployment_update`, line by line."""

import pytest

from reconciler.model.deployment_fields import default, known, live_fields
from reconciler.model.deployment_update import needs_post, patched, rewritten
from reconciler.model.keys import Key
from reconciler.model.live import Live
from reconciler.model.values import Secret

KIND = {"__prefect_kind": "jinja", "template": "x"}
PLAIN = {"schedule": {"cron": "@daily"}, "active": True}
A, B = {**PLAIN, "slug": "a"}, {**PLAIN, "slug": "b"}


def live(*, v2, **raw):
    whole = {
        "id": "1",
        "parameter_openapi_schema": {},
        "enforce_parameter_schema": not v2,
        "work_queue_name": "default",
        "work_pool_name": "default-agent-pool",
        **raw,
    }
    return Live(Key.of("deployment", "f", "d"), "1", live_fields(whole, v2=v2), raw=whole)


def slugs(*items):
    return {"schedules": [{"cron": "@daily", "slug": item["slug"]} for item in items]}


TABLE = [
    # fields, live, POST on 2.20, POST on 3.x (None: the version has no such field)
    ({"description": "x"}, {}, False, False),
    ({"parameters": {"n": 1}}, {}, False, False),
    ({"parameters": {"n": [KIND]}}, {}, True, True),
    ({"parameters": {"n": Secret({"deep": KIND})}}, {}, True, True),
    ({"pull_steps": []}, {}, True, False),
    ({"parameter_openapi_schema": {}}, {}, True, False),
    ({"manifest_path": "x"}, {}, False, None),
    ({"labels": {}}, {}, None, True),
    ({"concurrency_limit": 1}, {}, None, False),
    (slugs(A), {"schedules": []}, None, False),
    (slugs(A, B), {"schedules": [A]}, None, False),
    (slugs(A), {"schedules": [A, B]}, None, True),
    ({"schedules": []}, {"schedules": [A]}, None, True),
    ({"schedules": [{"cron": "@daily"}]}, {"schedules": [A]}, None, True),
    ({"schedules": []}, {"schedules": [PLAIN]}, False, False),
    (
        {"path": "x"},
        {"parameter_openapi_schema": None, "enforce_parameter_schema": True},
        True,
        True,
    ),
    (
        {"path": "x"},
        {"parameter_openapi_schema": None, "enforce_parameter_schema": False},
        False,
        False,
    ),
    (
        {"enforce_parameter_schema": True},
        {"parameter_openapi_schema": None, "enforce_parameter_schema": False},
        True,
        True,
    ),
]


@pytest.mark.parametrize(("fields", "raw", "on_2", "on_3"), TABLE, ids=str)
def test_the_least_request_that_can_carry_it(fields, raw, on_2, on_3):
    for v2, expected in ((True, on_2), (False, on_3)):
        if expected is not None:
            assert needs_post(live(v2=v2, **raw), fields, v2=v2) is expected


@pytest.mark.parametrize("v2", [True, False])
def test_a_rewrite_carries_every_live_value(v2):
    sent = rewritten(live(v2=v2, description="kept"), {"path": "new"})
    assert sent.keys() == known(v2=v2).keys() - {"concurrency_limit"}
    assert (sent["description"], sent["path"]) == ("kept", "new")


def test_a_queue_goes_with_its_pool():
    before = live(v2=False, work_queue_name="q", work_pool_name="p")
    whole = {"work_queue_name": "other", "work_pool_name": "p"}
    assert patched(before, {"work_queue_name": "other"}, v2=False) == whole


def test_a_real_pool_on_2_is_checked_with_the_live_variables():
    before = live(v2=True, infra_overrides={"a": 1})
    sent = patched(before, {"work_pool_name": "p"}, v2=True)
    assert sent["job_variables"] == {"a": 1}


def test_a_shared_limit_is_let_go_first():
    shared = {"global_concurrency_limit": {"name": "shared", "limit": 7}}
    before = live(v2=False, **shared)
    assert before.fields["concurrency_limit"] is None
    assert patched(before, {"concurrency_limit": 2}, v2=False) == {
        "concurrency_limit": 2,
        "global_concurrency_limit_id": None,
    }
    own = {"global_concurrency_limit": {"name": "deployment:1", "limit": 7}}
    assert live(v2=False, **own).fields["concurrency_limit"] == 7


@pytest.mark.parametrize("v2", [True, False])
def test_a_bare_deployment_has_the_defaults_and_its_own_lists(v2):
    bare = live(v2=v2).fields
    assert all(bare[name] == default(name, v2=v2) for name in known(v2=v2))
    assert default("tags", v2=v2) is not default("tags", v2=v2)
