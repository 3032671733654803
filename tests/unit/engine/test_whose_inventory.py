"""Whose inventory it is (DESIGN 6.3)."""

from types import SimpleNamespace

import pytest

from reconciler.engine.inventory import InventoryStore
from reconciler.errors import ForeignInventory
from reconciler.model.fingerprint import Fingerprinter
from reconciler.model.inventory import Inventory
from reconciler.model.snapshot import Origin
from tests.fakes.prefect_memory import MemoryApi, MemoryPrefect

OURS = Inventory("prod", {}, Fingerprinter(b"k"), roots=("aaa",), path="prefect")


def claimed(origin, *, take_over=False):
    store = InventoryStore(MemoryApi(MemoryPrefect()), "prod")
    store._documents = {0: SimpleNamespace()}
    return store._claimed(OURS, origin, take_over=take_over), store._origin


def test_the_same_repository_and_folder_go_on():
    assert claimed(Origin(("aaa", "bbb"), "prefect"))[0] is None


@pytest.mark.parametrize(
    "origin",
    [
        Origin(("zzz",), "prefect"),
        Origin(("aaa",), "other"),
        Origin((), "prefect"),
        Origin(("aaa",), ""),
    ],
)
def test_another_repository_or_folder_is_refused_until_it_takes_over(origin):
    with pytest.raises(ForeignInventory, match="another"):
        claimed(origin)
    reason, remembered = claimed(origin, take_over=True)
    assert "another" in reason
    assert remembered == origin


def test_a_shallow_clone_of_the_folder_is_taken_for_ours_and_forgets_no_root():
    reason, remembered = claimed(Origin((), "prefect", shallow=True))
    assert reason is None
    assert remembered.roots == ("aaa",)


def test_a_shallow_clone_of_another_folder_is_refused():
    with pytest.raises(ForeignInventory):
        claimed(Origin((), "other", shallow=True))
