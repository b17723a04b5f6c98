from haven.storage.cache import Cache, Cached


def test_a_fill_is_kept_and_found() -> None:
    cache = Cache()
    cache.end(cache.begin("a"), b"1")
    assert cache.get("a") == Cached(b"1")


def test_absence_is_known_too() -> None:
    cache = Cache()
    cache.end(cache.begin("a"), None)
    assert cache.get("a") == Cached(None)
    assert cache.get("b") is None


def test_a_write_voids_the_read_that_was_on_its_way() -> None:
    cache = Cache()
    fill = cache.begin("a")
    cache.written("a", b"new")
    cache.end(fill, b"old")
    assert cache.get("a") == Cached(b"new")


def test_a_drop_voids_the_read_that_was_on_its_way() -> None:
    cache = Cache()
    fill = cache.begin("a")
    cache.drop("a")
    cache.end(fill, b"old")
    assert cache.get("a") is None


def test_the_end_of_a_term_voids_the_read_that_was_on_its_way() -> None:
    cache = Cache()
    fill = cache.begin("a")
    cache.clear()
    cache.end(fill, b"old")
    assert cache.get("a") is None


def test_an_abandoned_read_fills_nothing() -> None:
    cache = Cache()
    fill = cache.begin("a")
    cache.abandon(fill)
    cache.end(fill, b"old")
    assert cache.get("a") is None


def test_a_read_is_under_way_until_it_ends_or_the_key_changes() -> None:
    cache = Cache()
    fill = cache.begin("a")
    assert cache.under_way("a") is fill
    cache.drop("a")
    assert cache.under_way("a") is None
    young = cache.begin("a")
    cache.end(fill, b"old")
    assert cache.get("a") is None
    assert cache.under_way("a") is young
    cache.end(young, b"new")
    assert cache.get("a") == Cached(b"new")
    assert cache.under_way("a") is None


def test_an_abandoned_read_leaves_a_younger_one_alone() -> None:
    cache = Cache()
    old = cache.begin("a")
    cache.drop("a")
    young = cache.begin("a")
    cache.abandon(old)
    assert cache.under_way("a") is young


def test_the_least_recently_used_goes_first_and_the_size_stays_bounded() -> None:
    cache = Cache(limit_bytes=3 * 700)
    for key in "abc":
        cache.written(key, b"x" * 450)
    assert cache.get("a")
    cache.written("d", b"x" * 450)
    assert cache.get("b") is None
    assert cache.get("a")
    for _ in range(100):
        cache.written("a", b"x" * 450)
    assert cache.get("d")


def test_a_value_larger_than_the_cache_is_not_kept() -> None:
    cache = Cache(limit_bytes=1000)
    cache.written("a", b"x" * 2000)
    assert cache.get("a") is None
