"""What lasts is passed over by the collector, and garbage is found all the same."""

import gc
from weakref import ref

import pytest

from reconciler.runtime import memory


class Ring:
    """An object in a cycle."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_what_is_there_is_passed_over_by_later_collections():
    kept = Ring()
    memory.settle()
    assert gc.get_freeze_count() > 0
    assert not any(one is kept for one in gc.get_objects())


def test_garbage_of_what_was_settled_goes_at_the_next_settling():
    lost = Ring()
    seen = ref(lost)
    memory.settle()
    del lost
    gc.collect()
    assert seen() is not None
    memory.settle()
    assert seen() is None


def test_a_start_collects_nothing_and_what_it_brought_is_passed_over_afterwards():
    memory.starting()
    assert not gc.isenabled()
    kept = Ring()
    memory.started()
    assert gc.isenabled()
    assert not any(one is kept for one in gc.get_objects())


def test_without_a_start_nothing_is_frozen():
    memory.started()
    assert gc.get_freeze_count() == 0
