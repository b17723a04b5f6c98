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


def test_a_key_that_is_read_without_a_break_is_kept() -> None:
    cache = Cache()
    reads = [cache.begin("a")]
    for _ in range(3):
        reads.append(cache.begin("a"))  # before the one before it has ended
        cache.end(reads.pop(0), b"value")
        assert cache.get("a") == Cached(b"value")


def test_a_write_voids_every_read_that_was_on_its_way() -> None:
    cache = Cache()
    old = [cache.begin("a"), cache.begin("a")]
    cache.drop("a")
    young = cache.begin("a")
    for fill in old:
        cache.end(fill, b"old")
    assert cache.get("a") is None
    cache.end(young, b"new")
    for fill in old:
        cache.end(fill, b"old")
    assert cache.get("a") == Cached(b"new")


def test_a_read_that_fails_leaves_the_others_to_fill() -> None:
    cache = Cache()
    first, second = cache.begin("a"), cache.begin("a")
    cache.abandon(first)
    cache.end(second, b"1")
    assert cache.get("a") == Cached(b"1")


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
