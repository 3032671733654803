"""The cache of what files declare."""

from reconciler.manifests.cache import ReadCache, Reading


def test_a_file_is_known_by_its_path_and_its_bytes():
    cache, reading = ReadCache(), Reading()
    cache.put("x.yaml", "a", reading)
    assert cache.get("x.yaml", "a") is reading
    assert cache.get("x.yaml", "b") is None


def test_a_moved_file_is_another_one_since_its_places_are():
    cache = ReadCache()
    cache.put("x.yaml", "a", Reading())
    assert cache.get("y.yaml", "a") is None


def test_what_a_file_was_before_is_forgotten():
    """A service sees thousands of revisions, and holds one."""
    cache = ReadCache()
    for blob in ("a", "b"):
        cache.put("x.yaml", blob, Reading())
    assert cache.get("x.yaml", "a") is None
    assert cache.get("x.yaml", "b") is not None


def test_files_that_the_tree_has_no_more_are_forgotten():
    cache = ReadCache()
    for path in ("x.yaml", "y.yaml"):
        cache.put(path, "a", Reading())
    cache.retain({"y.yaml", "z.yaml"})
    assert cache.get("x.yaml", "a") is None
    assert cache.get("y.yaml", "a") is not None


def test_under_another_policy_nothing_is_known():
    cache = ReadCache()
    cache.under("one")
    cache.put("x.yaml", "a", Reading())
    cache.under("one")
    assert cache.get("x.yaml", "a") is not None
    cache.under("other")
    assert cache.get("x.yaml", "a") is None
