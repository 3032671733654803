"""The cache of what files declare."""

from reconciler.manifests.cache import ReadCache, Reading


def test_the_oldest_is_forgotten_when_there_are_too_many_values():
    cache = ReadCache(most=30)
    for blob in ("a", "b"):
        cache.put("x.yaml", blob, Reading(weight=10))
    assert cache.get("x.yaml", "a") is not None
    cache.put("x.yaml", "c", Reading(weight=11))
    assert cache.get("x.yaml", "b") is None
    assert cache.get("x.yaml", "a") is not None
    assert cache.get("x.yaml", "c") is not None


def test_what_is_known_is_kept_as_it_is():
    cache = ReadCache(most=30)
    first = Reading(weight=5)
    cache.put("x.yaml", "a", first)
    cache.put("x.yaml", "a", Reading(weight=5))
    assert cache.get("x.yaml", "a") is first


def test_a_file_larger_than_the_cache_is_not_kept():
    cache = ReadCache(most=5)
    cache.put("x.yaml", "a", Reading(weight=10))
    assert cache.get("x.yaml", "a") is None
    cache.put("x.yaml", "b", Reading(weight=2))
    assert cache.get("x.yaml", "b") is not None


def test_a_moved_file_is_another_one_since_its_places_are():
    cache = ReadCache()
    cache.put("x.yaml", "a", Reading())
    assert cache.get("y.yaml", "a") is None


def test_under_another_policy_nothing_is_known():
    cache = ReadCache(most=30)
    cache.under("one")
    cache.put("x.yaml", "a", Reading(weight=20))
    cache.under("one")
    assert cache.get("x.yaml", "a") is not None
    cache.under("other")
    assert cache.get("x.yaml", "a") is None
    cache.put("x.yaml", "b", Reading(weight=20))  # what was forgotten weighs nothing
    assert cache.get("x.yaml", "b") is not None
