"""The cache of parse results."""

from reconciler.manifests.cache import ParseCache
from reconciler.manifests.marks import Limits, read


def content(values):
    return read(("[" + ",".join(["1"] * values) + "]").encode(), Limits())


def test_the_oldest_is_forgotten_when_there_are_too_many_values():
    cache = ParseCache(most=30)
    for blob in ("a", "b"):
        cache.put(blob, content(10))
    assert cache.get("a") is not None
    cache.put("c", content(10))
    assert cache.get("b") is None
    assert cache.get("a") is not None
    assert cache.get("c") is not None


def test_what_is_known_is_kept_as_it_is():
    cache = ParseCache(most=30)
    first = content(5)
    cache.put("a", first)
    cache.put("a", content(5))
    assert cache.get("a") is first


def test_a_content_larger_than_the_cache_is_not_kept():
    cache = ParseCache(most=5)
    cache.put("a", content(10))
    assert cache.get("a") is None
    cache.put("b", content(2))
    assert cache.get("b") is not None
