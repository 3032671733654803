import copy
import json
import pickle

import pytest

from reconciler.model.keys import Key
from reconciler.model.values import (
    ABSENT,
    MASKED,
    Masked,
    Ref,
    Secret,
    UnknownRef,
    contains_secret,
    join,
    leaves,
    references,
)

CANARY = "hunter2-canary"


@pytest.mark.parametrize(
    "show",
    [
        repr,
        str,
        lambda s: f"{s}",
        lambda s: f"{s!r:>20}",
        lambda s: f"{[s]} { ({'a': s}) }",
    ],
)
def test_a_secret_never_prints(show):
    assert CANARY not in show(Secret(CANARY))


def test_a_secret_cannot_be_compared_hashed_or_stored():
    secret = Secret(CANARY)
    for misuse in (
        lambda: secret == CANARY,
        lambda: hash(secret),
        lambda: pickle.dumps(secret),
        lambda: copy.deepcopy(secret),
    ):
        with pytest.raises(TypeError) as caught:
            misuse()
        assert CANARY not in str(caught.value)
    with pytest.raises(TypeError):
        json.dumps({"a": secret})


def test_only_reveal_gives_the_value():
    assert Secret(CANARY, "TOKEN").reveal() == CANARY
    assert Secret(CANARY, "TOKEN").names == ("TOKEN",)


def test_masks_are_alike_and_unlike_the_stars_they_stand_for():
    assert Masked() == MASKED
    assert hash(Masked()) == hash(MASKED)
    assert MASKED != "********"
    assert "*" not in repr(MASKED)


def test_paths_are_dotted_and_keys_with_dots_are_quoted():
    assert join("", "data") == "data"
    assert join("data", "env") == "data.env"
    assert join("job_variables", "env.LOG") == 'job_variables["env.LOG"]'
    assert join("labels", "team/name") == "labels.team/name"


def test_lists_secrets_and_empty_mappings_are_leaves():
    secret = Secret("x")
    tree = {"a": {"b": 1, "c": {}}, "d": [{"e": 1}], "f": secret}
    assert [path for path, _ in leaves(tree)] == ["a.b", "a.c", "d", "f"]


def test_references_are_found_at_any_depth():
    one, two = Ref(Key.of("block", "s3", "a")), Ref(Key.of("block", "s3", "b"))
    assert list(references({"x": one, "y": [{"z": two}], "n": 1})) == [one, two]
    assert str(one) == "→ block/s3/a"
    assert str(UnknownRef("id")) == "→ id"


def test_secrets_are_found_at_any_depth():
    assert contains_secret({"a": [{"b": Secret("x")}]})
    assert contains_secret([MASKED])
    assert not contains_secret({"a": [1, None, "x"]})
    assert repr(ABSENT) == "<absent>"
