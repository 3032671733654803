"""The declared queues of the tree that is in force: each poll of the agent asks for them."""

from reconciler.app.agent import following_queues
from reconciler.model.keys import Key
from tests.fakes.bench import declare, tree


def nightly(queue):
    key = Key.of("deployment", "etl", "nightly")
    return tree(declare(key, work_pool_name=None, work_queue_name=queue))


def test_another_revision_has_its_own_queues():
    trees = [None]
    queues = following_queues(lambda: trees[-1], "pool")
    assert queues() == ()
    for name in ("blue", "green"):
        trees.append(nightly(name))
        assert queues() == queues() == (name,)


def test_one_revision_is_gone_through_once():
    one = nightly("blue")
    queues = following_queues(lambda: one, "pool")
    assert queues() == ("blue",)
    one.declarations.clear()
    assert queues() == ("blue",)
