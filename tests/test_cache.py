"""The locks and values of streams that were used lately."""

from threading import RLock

from esbank._cache import Cache
from esbank.store import StreamId


def test_a_stream_in_use_keeps_its_turn() -> None:
    cache: Cache[None] = Cache(10)
    busy = StreamId("Bill", "busy")
    turn = cache.turn(busy)

    for number in range(2000):
        cache.turn(StreamId("Bill", str(number)))
        assert cache.turn(busy) is turn


def test_a_signal_handler_may_use_the_cache_that_its_thread_is_using() -> None:
    assert isinstance(Cache[None](10)._lock, type(RLock()))  # noqa: SLF001 - a handler comes too rarely there
