"""Who, why and in which conversation: said once around some commands, and kept with every event of theirs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import esbank
from esbank import EventCodec, EventRegistry, Metadata, Repository
from esbank.store import NO_METADATA, StreamId
from tests.basket import Add, AddEach, Added, Basket
from tests.doubles import KINDS, Store, WatchedStore, open_store

STREAM = StreamId("Basket", "b1")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def baskets(store: Store) -> Repository[Basket]:
    return Repository(store, Basket)


def kept(baskets: Repository[Basket], metadata: Metadata | None = None, *, key: str = "b1") -> Metadata:
    """Make an event, and return what is kept beside it."""
    (envelope,) = baskets.execute(key, Add("pen"), metadata=metadata).envelopes
    return envelope.metadata


def test_what_a_context_says_is_kept_with_every_event_made_in_it(store: Store, baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice", correlation_id="order-7", causation_id="event-3", extra={"channel": "web"}):
        executed = baskets.execute("b1", AddEach(["pen", "ink"]), Add("cup"))
        baskets.execute("b2", Add("cap"))

    expected = Metadata("order-7", "event-3", "alice", extra={"channel": "web"})
    assert [envelope.metadata for envelope in executed.envelopes] == [expected] * 3
    assert [stored.metadata for stored in store.read_all()] == [expected] * 4


def test_a_context_ends_with_its_block(baskets: Repository[Basket]) -> None:
    before = kept(baskets)
    with esbank.context(actor="alice"):
        pass

    assert before == kept(baskets) == NO_METADATA


def test_a_context_ends_also_when_its_block_fails(baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice"):
        with pytest.raises(LookupError), esbank.context(actor="bob"):
            raise LookupError
        after_the_inner = kept(baskets)

    assert after_the_inner == Metadata(actor="alice")
    assert kept(baskets) == NO_METADATA


def test_a_context_that_says_nothing_changes_nothing(baskets: Repository[Basket]) -> None:
    with esbank.context():
        assert kept(baskets) == NO_METADATA
        assert kept(baskets, Metadata(actor="bob")) == Metadata(actor="bob")

    with esbank.context(actor="alice", extra={"page": 1}), esbank.context():
        assert kept(baskets) == Metadata(actor="alice", extra={"page": 1})


# Blocks nest.


def test_an_inner_context_adds_to_the_outer_one_and_wins(baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice", correlation_id="order-7", extra={"channel": "web", "page": 1}):
        with esbank.context(actor="bob", causation_id="event-3", extra={"page": 2, "step": "pay"}):
            inner = kept(baskets)
        outer = kept(baskets)

    assert inner == Metadata("order-7", "event-3", "bob", extra={"channel": "web", "page": 2, "step": "pay"})
    assert outer == Metadata("order-7", None, "alice", extra={"channel": "web", "page": 1})


def test_contexts_nest_as_deep_as_one_likes(baskets: Repository[Basket]) -> None:
    with (
        esbank.context(actor="alice", correlation_id="1", causation_id="1"),
        esbank.context(correlation_id="2", causation_id="2"),
        esbank.context(causation_id="3"),
    ):
        assert kept(baskets) == Metadata("2", "3", "alice")


def test_an_empty_text_is_said_too(baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice", correlation_id="1", causation_id="1"):
        assert kept(baskets, Metadata("", "", "")) == Metadata("", "", "")
        with esbank.context(actor="", correlation_id="", causation_id=""):
            assert kept(baskets) == Metadata("", "", "")


# A command's own metadata win.


def test_what_the_metadata_say_wins_over_the_context_field_by_field(baskets: Repository[Basket]) -> None:
    at = datetime(2024, 5, 1, 9, tzinfo=UTC)
    own = Metadata(causation_id="event-9", actor="carol", occurred_at=at, extra={"page": 3})

    with esbank.context(actor="alice", correlation_id="order-7", extra={"channel": "web", "page": 1}):
        metadata = kept(baskets, own)

    assert metadata == Metadata("order-7", "event-9", "carol", at, {"channel": "web", "page": 3})
    assert own == Metadata(None, "event-9", "carol", at, {"page": 3})


@pytest.mark.parametrize("field", ["actor", "correlation_id", "causation_id"])
def test_each_thing_may_be_left_to_the_context_or_said(baskets: Repository[Basket], field: str) -> None:
    said: dict[str, Any] = {"actor": "alice", "correlation_id": "order-7", "causation_id": "event-3"}

    with esbank.context(**said):
        assert kept(baskets, Metadata(**{field: "own"})) == Metadata(**{**said, field: "own"})


def test_metadata_that_say_nothing_leave_all_to_the_context(baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice"):
        assert kept(baskets, NO_METADATA) == kept(baskets, Metadata()) == Metadata(actor="alice")


@pytest.mark.parametrize("wrong", [{"actor": "bob"}, {}, "bob"], ids=repr)
def test_metadata_of_another_type_are_refused_in_a_context_too(
    store: Store,
    baskets: Repository[Basket],
    wrong: Any,  # noqa: ANN401 - of any wrong type
) -> None:
    with esbank.context(actor="alice"), pytest.raises(TypeError, match="metadata are given as Metadata"):
        baskets.execute("b1", Add("pen"), metadata=wrong)

    assert store.head() is None


# What cannot be stored is refused before the block begins.


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "actor": ({"actor": 7}, TypeError, "actor must be a str"),
    "correlation_id": ({"correlation_id": b"order-7"}, TypeError, "correlation_id must be a str"),
    "causation_id": ({"causation_id": object()}, TypeError, "causation_id must be a str"),
    "surrogate": ({"actor": "\ud800"}, ValueError, "lone surrogate"),
    "no mapping": ({"extra": 7}, TypeError, "not iterable"),
    "no number": ({"extra": {"page": float("nan")}}, ValueError, "a number must be finite"),
    "key": ({"extra": {7: "seven"}}, ValueError, "a key must be a str"),
    "inner key": ({"extra": {"page": {7: "seven"}}}, ValueError, "a key must be a str"),
    "no JSON": ({"extra": {"at": datetime(2024, 5, 1, tzinfo=UTC)}}, ValueError, "JSON cannot say"),
    "too deep": ({"extra": nested(10_000)}, ValueError, "nested too deeply"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_stored_is_refused_before_the_block_begins(baskets: Repository[Basket], wrong: str) -> None:
    said, error, message = WRONG[wrong]
    entered = False
    with esbank.context(actor="alice"):
        with pytest.raises(error, match=message), esbank.context(**said):
            entered = True
        assert kept(baskets) == Metadata(actor="alice")

    assert not entered


def test_any_mapping_will_do_for_what_else_there_is_to_say(baskets: Repository[Basket]) -> None:
    extra: Mapping[str, int] = MappingProxyType({"page": 1})

    with esbank.context(extra=extra):
        assert kept(baskets) == Metadata(extra={"page": 1})


def test_changing_what_was_given_to_a_context_does_not_change_it(baskets: Repository[Basket]) -> None:
    extra = {"page": 1}
    with esbank.context(extra=extra):
        extra["page"] = 2
        assert kept(baskets) == Metadata(extra={"page": 1})


# A function of its own.


def test_a_context_may_be_put_on_a_function(baskets: Repository[Basket]) -> None:
    @esbank.context(actor="alice")
    def add(correlation_id: str) -> Metadata:
        """Add something."""
        with esbank.context(correlation_id=correlation_id):
            return kept(baskets)

    assert kept(baskets) == NO_METADATA
    assert add("1") == Metadata("1", actor="alice")
    assert kept(baskets) == NO_METADATA
    assert add(correlation_id="2") == Metadata("2", actor="alice")
    assert (add.__name__, add.__doc__) == ("add", "Add something.")


def test_a_function_with_a_context_may_call_itself(baskets: Repository[Basket]) -> None:
    @esbank.context(actor="alice", extra={"page": 1})
    def add(times: int) -> list[Metadata]:
        return [*add(times - 1), kept(baskets)] if times else []

    assert add(3) == [Metadata(actor="alice", extra={"page": 1})] * 3
    assert kept(baskets) == NO_METADATA


def test_a_method_may_have_a_context(baskets: Repository[Basket]) -> None:
    class Shop:
        def __init__(self) -> None:
            self.sold = 0

        @esbank.context(actor="shop")
        def sell(self) -> Metadata:
            self.sold += 1
            return kept(baskets)

    shop = Shop()

    assert [shop.sell(), shop.sell()] == [Metadata(actor="shop")] * 2
    assert shop.sold == 2


# Commands with an id.


def test_a_command_id_is_kept_beside_what_the_context_says(baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice"):
        (envelope,) = baskets.execute("b1", Add("pen"), command_id="c1").envelopes

    assert (envelope.metadata.command_id, envelope.metadata.actor) == ("c1", "alice")


def test_a_repeat_in_another_context_returns_the_first_outcome(store: Store, baskets: Repository[Basket]) -> None:
    with esbank.context(actor="alice", correlation_id="first try"):
        first = baskets.execute("b1", AddEach(["pen", "ink"]), command_id="c1")
    baskets.execute("b1", Add("cup"))

    with esbank.context(actor="bob", correlation_id="second try"):
        again = baskets.execute("b1", AddEach(["pen", "ink"]), command_id="c1")
    outside = Repository(store, Basket).execute("b1", AddEach(["pen", "ink"]), command_id="c1")

    assert first == again == outside
    assert [envelope.metadata.actor for envelope in again.envelopes] == ["alice", "alice"]
    assert store.version(STREAM) == 3


def test_a_racer_with_the_same_command_in_another_context_wins(store: Store) -> None:
    watched = WatchedStore(store)

    @esbank.context(actor="bob")
    def race() -> None:
        Repository(store, Basket).execute("b1", Add("pen"), command_id="c1")

    watched.before("append", race)

    with esbank.context(actor="alice"):
        executed = Repository(watched, Basket).execute("b1", Add("pen"), command_id="c1")

    assert [envelope.metadata.actor for envelope in executed.envelopes] == ["bob"]
    assert store.version(STREAM) == 1


def test_a_second_attempt_after_a_conflict_is_in_the_same_context(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", lambda: kept(Repository(store, Basket), Metadata(actor="bob")))

    with esbank.context(actor="alice"):
        executed = Repository(watched, Basket).execute("b1", Add("ink"))

    assert [(envelope.version, envelope.metadata.actor) for envelope in executed.envelopes] == [(2, "alice")]


# Events without a repository.


def test_an_event_that_is_encoded_without_metadata_has_those_of_the_context() -> None:
    codec = EventCodec(EventRegistry(Basket))

    with esbank.context(actor="alice"):
        inside = codec.encode(Added("pen"))

    assert inside.metadata == Metadata(actor="alice")
    assert codec.encode(Added("pen")).metadata == NO_METADATA


@pytest.mark.parametrize("own", [Metadata(correlation_id="order-7"), NO_METADATA], ids=["some", "none"])
def test_an_event_that_is_encoded_with_metadata_has_just_those(own: Metadata) -> None:
    codec = EventCodec(EventRegistry(Basket))

    with esbank.context(actor="alice"):
        assert codec.encode(Added("pen"), metadata=own).metadata == own


# Threads.


def test_threads_do_not_see_each_others_contexts(baskets: Repository[Basket]) -> None:
    together = threading.Barrier(2, timeout=60)

    def work(name: str) -> list[Metadata]:
        with esbank.context(actor=name):
            together.wait()
            first = kept(baskets, key=name)
            together.wait()
            with esbank.context(correlation_id=f"{name}'s"):
                together.wait()
                second = kept(baskets, key=name)
                together.wait()
        together.wait()
        return [first, second, kept(baskets, key=name)]

    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(work, ["alice", "bob"]))

    assert both == [
        [Metadata(actor=name), Metadata(correlation_id=f"{name}'s", actor=name), NO_METADATA]
        for name in ("alice", "bob")
    ]


def test_a_thread_leaves_no_context_behind(baskets: Repository[Basket]) -> None:
    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(esbank.context(actor="alice")(kept), baskets).result()
        second = thread.submit(kept, baskets).result()

    assert (first, second) == (Metadata(actor="alice"), NO_METADATA)


# Tasks.


def test_tasks_do_not_see_each_others_contexts(baskets: Repository[Basket]) -> None:
    async def work(name: str, together: asyncio.Barrier) -> list[Metadata]:
        with esbank.context(actor=name):
            await together.wait()
            first = kept(baskets)
            await together.wait()
            with esbank.context(correlation_id=f"{name}'s"):
                await together.wait()
                second = kept(baskets)
                await together.wait()
        await together.wait()
        return [first, second, kept(baskets)]

    async def main() -> list[list[Metadata]]:
        together = asyncio.Barrier(2)
        return await asyncio.gather(work("alice", together), work("bob", together))

    assert asyncio.run(main()) == [
        [Metadata(actor=name), Metadata(correlation_id=f"{name}'s", actor=name), NO_METADATA]
        for name in ("alice", "bob")
    ]


def test_a_task_keeps_the_context_in_which_it_was_made(baskets: Repository[Basket]) -> None:
    async def work(go_on: asyncio.Event) -> Metadata:
        await go_on.wait()
        return kept(baskets)

    async def main() -> Metadata:
        go_on = asyncio.Event()
        with esbank.context(actor="alice"):
            task = asyncio.create_task(work(go_on))
        with esbank.context(actor="bob"):
            go_on.set()
            return await task

    assert asyncio.run(main()) == Metadata(actor="alice")


def test_the_context_of_a_task_is_not_that_of_its_maker(baskets: Repository[Basket]) -> None:
    async def work(begun: asyncio.Event, go_on: asyncio.Event) -> Metadata:
        with esbank.context(correlation_id="order-7"):
            begun.set()
            await go_on.wait()
            return kept(baskets)

    async def main() -> tuple[Metadata, Metadata]:
        begun, go_on = asyncio.Event(), asyncio.Event()
        with esbank.context(actor="alice"):
            task = asyncio.create_task(work(begun, go_on))
            await begun.wait()
            makers = kept(baskets)
        go_on.set()
        return makers, await task

    assert asyncio.run(main()) == (Metadata(actor="alice"), Metadata("order-7", actor="alice"))


def test_work_that_a_task_gives_to_a_thread_is_in_its_context(baskets: Repository[Basket]) -> None:
    async def main() -> Metadata:
        with esbank.context(actor="alice"):
            return await asyncio.to_thread(kept, baskets)

    assert asyncio.run(main()) == Metadata(actor="alice")


# Generators.


def test_a_generator_is_at_each_step_in_the_context_of_whoever_takes_the_step(baskets: Repository[Basket]) -> None:
    steps = (kept(baskets) for _ in range(3))

    with esbank.context(actor="alice"):
        first = next(steps)
    with esbank.context(actor="bob"):
        second = next(steps)

    assert [first, second, next(steps)] == [Metadata(actor="alice"), Metadata(actor="bob"), NO_METADATA]


def test_a_generator_that_is_closed_within_its_own_context_leaves_it(baskets: Repository[Basket]) -> None:
    def steps() -> Iterator[Metadata]:
        with esbank.context(actor="alice"):
            while True:
                yield kept(baskets)

    generator = steps()
    assert [next(generator), next(generator)] == [Metadata(actor="alice")] * 2
    generator.close()

    assert kept(baskets) == NO_METADATA


def test_generators_that_take_turns_leave_no_context_behind(baskets: Repository[Basket]) -> None:
    def steps(actor: str) -> Iterator[Metadata]:
        with esbank.context(actor=actor):
            yield kept(baskets)
            yield kept(baskets)

    with esbank.context(correlation_id="order-7"):
        alice, bob = steps("alice"), steps("bob")
        assert [next(alice), next(bob)] == [Metadata("order-7", actor="alice"), Metadata("order-7", actor="bob")]
        assert list(alice) == [Metadata("order-7", actor="bob")]  # a generator has no context of its own
        assert list(bob) == [Metadata("order-7", actor="bob")]
        assert kept(baskets) == Metadata("order-7")
    assert kept(baskets) == NO_METADATA


def test_a_generator_may_be_closed_by_somebody_else(baskets: Repository[Basket]) -> None:
    def steps() -> Iterator[Metadata]:
        with esbank.context(actor="alice"):
            yield kept(baskets)

    generator = steps()
    assert contextvars.copy_context().run(next, generator) == Metadata(actor="alice")
    with esbank.context(actor="bob"):
        assert list(generator) == []
        assert kept(baskets) == Metadata(actor="bob")


async def coroutine() -> None:
    """Pause."""


async def async_steps() -> AsyncIterator[None]:
    """Pause."""
    yield


def steps() -> Iterator[None]:
    """Pause."""
    yield


@pytest.mark.parametrize("pausing", [coroutine, async_steps, steps])
def test_a_context_is_not_put_on_what_pauses(pausing: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="write a with block inside it"):
        esbank.context(actor="alice")(pausing)


def test_a_context_may_be_entered_again_and_again(baskets: Repository[Basket]) -> None:
    context = esbank.context(actor="alice")

    with context, esbank.context(actor="bob"):
        with context:
            assert kept(baskets) == Metadata(actor="alice")
        assert kept(baskets) == Metadata(actor="bob")
    assert kept(baskets) == NO_METADATA
