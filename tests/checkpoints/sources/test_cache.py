"""The cache stays within its limit, keeps entries in use, and contains complete entries only."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from emergence_assets.checkpoints.sources.cache import CheckpointCache
from resources.errors import EmergenceError
from resources.files.temporaries import temporary_beside
from tests.checkpoints.sources.small_cache import filling, keys, never, put
from tests.resources.files.killed_writer import named_by


def test_an_entry_is_filled_once_and_stays(cache: CheckpointCache) -> None:
    assert cache.entries() == []
    assert not cache.contains("a")
    with cache.hold("a", 100, filling(100)) as folder:
        assert [path.name for path in folder.iterdir()] == ["weights"]
    assert cache.contains("a")
    with cache.hold("a", 100, never) as again:
        assert again == folder
    (entry,) = cache.entries()
    assert (entry.key, entry.n_bytes, entry.whole) == ("a", 100, True)


def test_the_least_recently_used_entry_is_evicted_first(cache: CheckpointCache) -> None:
    for key in ("a", "b", "c"):
        put(cache, key, 300)
    put(cache, "a", 300)  # used again
    assert keys(cache) == ["b", "c", "a"]
    put(cache, "d", 300)
    assert keys(cache) == ["c", "a", "d"]
    put(cache, "e", 700)
    assert keys(cache) == ["d", "e"]


def test_the_limit_holds_for_every_request(cache: CheckpointCache) -> None:
    rng = random.Random(0)
    for _ in range(60):
        key = rng.choice("abcdefgh")
        n_bytes = 100 * (1 + "abcdefgh".index(key))
        with cache.hold(key, n_bytes, filling(n_bytes)) as folder:
            assert (folder / "weights").stat().st_size == n_bytes
            assert sum(entry.n_bytes for entry in cache.entries()) <= 1000


def test_an_entry_in_use_is_not_removed(cache: CheckpointCache) -> None:
    with cache.hold("a", 600, filling(600)) as folder:
        assert cache.evict("a") == 0
        with pytest.raises(EmergenceError, match="No room for 6e-07 GB") as caught:
            put(cache, "b", 600)
        assert "family.cache_gb" in caught.value.remedy
        assert (folder / "weights").exists()
        put(cache, "c", 300)  # which fits beside it
    put(cache, "b", 600)
    assert "a" not in keys(cache)


def test_an_entry_is_released_by_the_last_of_two_users(cache: CheckpointCache) -> None:
    with cache.hold("a", 100, filling(100)):
        with cache.hold("a", 100, never):
            pass
        assert cache.evict("a") == 0
    assert cache.evict("a") == 100


def test_an_entry_larger_than_the_cache_is_refused_at_once(cache: CheckpointCache) -> None:
    put(cache, "a", 100)
    with pytest.raises(EmergenceError, match="does not fit into a cache") as caught, cache.hold("b", 1001, never):
        pass
    assert "family.cache_gb" in caught.value.remedy
    assert keys(cache) == ["a"]
    put(cache, "b", 1000)


def test_evicting_frees_the_entries(cache: CheckpointCache) -> None:
    assert cache.evict("a") == 0
    put(cache, "a", 100)
    assert cache.evict("b") == 0
    assert cache.evict("a") == 100
    assert cache.evict("a") == 0
    assert cache.entries() == []
    assert not [path for path in cache.root.iterdir() if path.is_dir()]


def test_remains_of_killed_evictions_are_removed_before_entries(cache: CheckpointCache) -> None:
    put(cache, "a", 100)
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    left, going = named_by(cache.root / "b", ended.pid), temporary_beside(cache.root / "c")
    for folder in (left, going):
        folder.mkdir()
        (folder / "weights").write_bytes(b"x")
    put(cache, "d", 100)
    assert not left.exists()
    assert going.exists()  # its process is alive
    assert cache.evict("a") == 100


def test_a_cache_that_cannot_be_created_gives_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmergenceError, match="cannot be written"):
        put(CheckpointCache(tmp_path / "file" / "cache", 1000), "a", 100)
