"""Old events through repositories and projectors: read as those of today, and never changed where they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import define, field, frozen

from esbank import (
    Aggregate,
    ByHand,
    EventDecodingError,
    EventEnvelope,
    EventRegistry,
    EveryNEvents,
    NewerSchemaVersion,
    ProjectionError,
    ProjectionRunner,
    Projector,
    Repository,
    UnknownEventType,
    applies,
    event,
    handles,
    projects,
    upcaster,
)
from esbank.backends.sqlite import SQLiteEventStore
from esbank.store import ANY_VERSION, EventStore, NewEvent, StreamId, Transaction
from tests.doubles import KINDS, Store, WatchedSnapshotStore, WatchedStore, open_store
from tests.journal import PLACES, Place, as_written, open_place

STREAM = StreamId("Account", "a1")


@frozen
class Pay:
    amount: Decimal


@frozen
class Take:
    amount: Decimal


class TooMuchError(Exception):
    pass


# The code as it was at first.


@frozen
class PaidIn:
    sum: Decimal


@frozen
class Booked:
    """Money that came by post."""

    sum: Decimal


@define
class FirstAccount(Aggregate[Pay, PaidIn | Booked]):
    category: ClassVar[str] = "Account"
    balance: Decimal = Decimal(0)

    @handles(Pay)
    def pay(self, command: Pay) -> Iterator[PaidIn]:
        yield PaidIn(command.amount)

    @applies(PaidIn, Booked)
    def _paid(self, event: PaidIn | Booked) -> None:
        self.balance += event.sum


# The code of today. `PaidIn` 1 became `PaidIn` 2, then `Deposited` 1 and 2; `Booked` came in by post, then, as `Booked`
# 2, went out by post.


@event(name="Deposited", schema_version=2)
@frozen
class MoneyIn:
    amount: Decimal
    currency: str
    channel: str = "counter"


@frozen
class Withdrawn:
    amount: Decimal


@define
class Account(Aggregate[Pay | Take, MoneyIn | Withdrawn]):
    category: ClassVar[str] = "Account"
    balance: Decimal = Decimal(0)
    channels: list[str] = field(factory=list)

    @handles(Pay)
    def pay(self, command: Pay) -> Iterator[MoneyIn]:
        yield MoneyIn(command.amount, "EUR")

    @handles(Take)
    def take(self, command: Take) -> Iterator[Withdrawn]:
        if command.amount > self.balance:
            raise TooMuchError
        yield Withdrawn(command.amount)

    @applies(MoneyIn)
    def _in(self, event: MoneyIn) -> None:
        self.balance += event.amount
        self.channels.append(event.channel)

    @applies(Withdrawn)
    def _out(self, event: Withdrawn) -> None:
        self.balance -= event.amount


@upcaster("PaidIn", from_version=1, to_version=2)
def a_sum_is_an_amount(data: dict[str, Any]) -> dict[str, Any]:
    return {"amount": data["sum"]}


@upcaster("PaidIn", from_version=2, to="Deposited", to_version=1)
def paid_in_is_deposited(data: dict[str, Any]) -> dict[str, Any]:
    return data


@upcaster("Deposited", from_version=1, to_version=2)
def it_was_in_euros(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "currency": "EUR"}


@upcaster("Booked", from_version=1, to="Deposited", to_version=2)
def it_came_by_post(data: dict[str, Any]) -> dict[str, Any]:
    return {"amount": data["sum"], "currency": "EUR", "channel": "post"}


@upcaster("Booked", from_version=2, to="Withdrawn", to_version=1)
def it_went_by_post(data: dict[str, Any]) -> dict[str, Any]:
    data["amount"] = data.pop("sum")
    return data


UPCASTERS = (a_sum_is_an_amount, paid_in_is_deposited, it_was_in_euros, it_came_by_post, it_went_by_post)
REGISTRY = EventRegistry(Account, upcasters=UPCASTERS)

HISTORY = [
    (NewEvent("PaidIn", '{"sum": "1.00"}'), MoneyIn(Decimal("1.00"), "EUR")),
    (NewEvent("Booked", '{"sum":"20.00"}'), MoneyIn(Decimal("20.00"), "EUR", "post")),
    (NewEvent("PaidIn", '{"amount":"300.00"}', schema_version=2), MoneyIn(Decimal("300.00"), "EUR")),
    (NewEvent("Booked", '{"sum":"5.00"}', schema_version=2), Withdrawn(Decimal("5.00"))),
    (NewEvent("Deposited", '{"amount":"4000.00"}'), MoneyIn(Decimal("4000.00"), "EUR")),
    (NewEvent("Withdrawn", '{"amount":"6.00"}'), Withdrawn(Decimal("6.00"))),
    (NewEvent("Deposited", '{"amount":"50.00","currency":"EGP"}', schema_version=2), MoneyIn(Decimal("50.00"), "EGP")),
]
BALANCES = [Decimal(text) for text in ("1.00", "21.00", "321.00", "316.00", "4316.00", "4310.00", "4360.00")]
NEWER = [NewEvent("Deposited", '{"cents":1}', schema_version=3), NewEvent("PaidIn", '{"cents":1}', schema_version=3)]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with open_store(request.param, tmp_path) as opened:
        yield opened


def write(store: EventStore, *events: NewEvent, stream: StreamId = STREAM) -> None:
    """Append events as code of another time has written them."""
    store.append(stream, events, expected_version=ANY_VERSION)


def write_history(store: EventStore, stream: StreamId = STREAM) -> None:
    write(
        store, *(NewEvent(one.type, one.data, schema_version=one.schema_version) for one, _ in HISTORY), stream=stream
    )


def accounts_in(store: EventStore, **options: Any) -> Repository[Account]:  # noqa: ANN401 - any option
    return Repository(store, Account, registry=REGISTRY, **options)


def rows(store: Store) -> list[object]:
    """Copy all that the store holds of its events, as it holds them."""
    if isinstance(store, SQLiteEventStore):
        return list(store.query("SELECT * FROM esbank_events"))
    return [
        (one.stream, one.version, one.event_id, one.type, one.schema_version, one.data, one.metadata, one.recorded_at)
        for one in store.read_all()
    ]


# What repositories read.


def test_the_history_is_told_in_events_of_today(store: Store) -> None:
    write_history(store)

    history = list(accounts_in(store).history("a1"))

    assert [envelope.event for envelope in history] == [today for _, today in HISTORY]


def test_an_envelope_still_tells_what_is_stored(store: Store) -> None:
    write_history(store)

    history = list(accounts_in(store).history("a1"))

    assert [(envelope.type, envelope.schema_version, envelope.stored.data) for envelope in history] == [
        (old.type, old.schema_version, old.data) for old, _ in HISTORY
    ]


def test_a_state_is_folded_from_events_of_today(store: Store) -> None:
    write_history(store)

    loaded = accounts_in(store).load("a1")

    channels = ["counter", "post", "counter", "counter", "counter"]
    assert (loaded.state, loaded.version) == (Account(BALANCES[-1], channels), len(HISTORY))


def test_every_state_of_the_past_is_too(store: Store) -> None:
    write_history(store)
    accounts = accounts_in(store)
    now = datetime.now(UTC)

    assert [accounts.load("a1", version=version).state.balance for version in range(1, 8)] == BALANCES
    assert [state.balance for _, state in accounts.timeline("a1")] == BALANCES
    assert accounts.load("a1", recorded_until=now) == accounts.load("a1", occurred_until=now) == accounts.load("a1")


def test_a_command_is_decided_on_it_and_writes_what_is_of_today(store: Store) -> None:
    write_history(store)
    accounts = accounts_in(store)

    with pytest.raises(TooMuchError):
        accounts.execute("a1", Take(Decimal("4360.01")))
    executed = accounts.execute("a1", Take(Decimal("4360.00")), Pay(Decimal(1)))

    assert (executed.state.balance, executed.version) == (Decimal("1.00"), len(HISTORY) + 2)
    *_, last = store.read(STREAM)
    assert (last.type, last.schema_version) == ("Deposited", 2)
    assert last.data == '{"amount":"1","currency":"EUR","channel":"counter"}'


def test_a_cached_state_goes_on_with_old_events_that_others_write(store: Store) -> None:
    accounts = accounts_in(store)
    accounts.execute("a1", Pay(Decimal(10)))
    write(store, NewEvent("PaidIn", '{"sum":"5"}'))

    assert accounts.load("a1").state.balance == 15
    write(store, NewEvent("PaidIn", '{"sum":"7"}'))
    assert accounts.execute("a1", Take(Decimal(22))).state.balance == 0


def test_what_the_first_code_wrote_the_code_of_today_reads(store: Store) -> None:
    first = Repository(store, FirstAccount, snapshots=EveryNEvents(2))
    for amount in range(1, 8):
        first.execute("a1", Pay(Decimal(amount)))

    assert accounts_in(store).load("a1").state.balance == first.load("a1").state.balance == 28


def test_reading_changes_nothing_that_is_stored(store: Store) -> None:
    write_history(store)
    write_history(store, StreamId("Account", "a2"))
    before = rows(store)
    accounts = accounts_in(store, snapshots=EveryNEvents(1))

    for key in ("a1", "a2"):
        accounts.load(key)
        accounts.load(key, version=3)
        list(accounts.history(key))
        list(accounts.timeline(key))
        accounts.snapshot(key)
    runner = ProjectionRunner(store, [Payments(), Spendings()], registry=REGISTRY)
    runner.catch_up()
    runner.rebuild()
    assert rows(store) == before

    accounts.execute("a1", Pay(Decimal(1)))
    assert rows(store)[:-1] == before


def test_many_threads_may_read_and_write_at_once(store: Store) -> None:
    write_history(store)
    accounts = [accounts_in(store, max_attempts=1000, snapshots=EveryNEvents(3)) for _ in range(4)]

    def work(number: int) -> list[object]:
        accounts[number % 4].execute("a1", Pay(Decimal(1)))
        return [envelope.event for envelope in accounts[number % 3].history("a1")][: len(HISTORY)]

    with ThreadPoolExecutor(8) as threads:
        histories = list(threads.map(work, range(40)))

    assert all(history == [today for _, today in HISTORY] for history in histories)
    assert accounts_in(store).load("a1").state.balance == BALANCES[-1] + 40


# Names.


def test_a_filter_by_class_finds_the_events_of_every_name_that_it_had(store: Store) -> None:
    write_history(store)
    write(store, NewEvent("PostageRaised", "{}"), stream=StreamId("Post", "p1"))

    found = store.read_all(types=REGISTRY.names_of(MoneyIn))

    # Booked has led to both classes.
    assert [one.type for one in found] == ["PaidIn", "Booked", "PaidIn", "Booked", "Deposited", "Deposited"]
    assert {one.type for one in store.read_all(types=REGISTRY.names_of(Withdrawn))} == {"Booked", "Withdrawn"}


def test_without_its_upcaster_an_old_name_is_unknown(store: Store) -> None:
    write(store, HISTORY[0][0])

    with pytest.raises(UnknownEventType, match=r"Account-a1 version 1 is a 'PaidIn'"):
        Repository(store, Account).load("a1")


# Repeated commands.


def test_a_command_that_the_first_code_executed_is_recognised_and_told_in_events_of_today(store: Store) -> None:
    first = Repository(store, FirstAccount)
    first.execute("a1", Pay(Decimal(3)), Pay(Decimal(4)), command_id="c1")
    first.execute("a1", Pay(Decimal(5)))
    before = rows(store)

    again = accounts_in(store).execute("a1", Pay(Decimal(3)), Pay(Decimal(4)), command_id="c1")

    assert (again.version, again.state) == (2, Account(Decimal(7), ["counter", "counter"]))
    assert [envelope.event for envelope in again.envelopes] == [
        MoneyIn(Decimal(3), "EUR"),
        MoneyIn(Decimal(4), "EUR"),
    ]
    assert [envelope.type for envelope in again.envelopes] == ["PaidIn", "PaidIn"]
    assert rows(store) == before


def test_a_racer_with_older_code_that_was_faster_with_the_same_command_wins(store: Store) -> None:
    watched = WatchedStore(store)
    watched.before("append", lambda: Repository(store, FirstAccount).execute("a1", Pay(Decimal(3)), command_id="c1"))

    executed = accounts_in(watched).execute("a1", Pay(Decimal(3)), command_id="c1")

    assert (executed.version, executed.state.balance, executed.envelopes[0].type) == (1, 3, "PaidIn")
    assert store.version(STREAM) == 1


# Snapshots.


def test_a_snapshot_of_old_events_saves_reading_them(store: Store) -> None:
    write_history(store)
    accounts_in(store, snapshots=ByHand()).snapshot("a1")
    write(store, NewEvent("PaidIn", '{"sum":"5"}'))
    watched = WatchedSnapshotStore(store)

    loaded = accounts_in(watched, snapshots=ByHand()).load("a1")

    assert loaded == accounts_in(store).load("a1")
    assert watched.events_read == 2  # that of the snapshot, to see that it is still the same, and the one after it


def test_a_snapshot_from_before_an_upcast_is_gone_on_from(store: Store) -> None:
    @define
    class Tally(Aggregate[Pay, PaidIn]):
        category: ClassVar[str] = "Account"
        total: Decimal = Decimal(0)

        @applies(PaidIn)
        def _paid(self, event: PaidIn) -> None:
            self.total += event.sum

    old = Tally

    @define
    class Tally(Aggregate[Pay, MoneyIn]):  # the same class, years later
        category: ClassVar[str] = "Account"
        total: Decimal = Decimal(0)

        @applies(MoneyIn)
        def _paid(self, event: MoneyIn) -> None:
            self.total += event.amount

    upcasters = [a_sum_is_an_amount, paid_in_is_deposited, it_was_in_euros]
    write(store, *(NewEvent("PaidIn", '{"sum":"1"}') for _ in range(10)))
    Repository(store, old, snapshots=ByHand()).snapshot("a1")
    write(store, NewEvent("Deposited", '{"amount":"5"}'))
    watched = WatchedSnapshotStore(store)

    loaded = Repository(watched, Tally, snapshots=ByHand(), registry=EventRegistry(Tally, upcasters=upcasters)).load(
        "a1"
    )

    assert (loaded.state.total, loaded.version, watched.events_read) == (15, 11, 2)


@upcaster("Deposited", from_version=1, to_version=2)
def it_was_in_cents(data: dict[str, Any]) -> dict[str, Any]:
    return {"amount": str(Decimal(data["amount"]) / 100), "currency": "EUR"}


def test_a_corrected_upcaster_takes_effect_on_snapshots_once_their_version_is_raised(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, NewEvent("Deposited", '{"amount":"400"}'))
    accounts_in(store, snapshots=ByHand()).snapshot("a1")
    corrected = EventRegistry(Account, upcasters=[it_was_in_cents])

    assert Repository(store, Account, registry=corrected).load("a1").state.balance == 4
    assert Repository(store, Account, registry=corrected, snapshots=ByHand()).load("a1").state.balance == 400

    monkeypatch.setattr(Account, "snapshot_version", 2)
    assert Repository(store, Account, registry=corrected, snapshots=ByHand()).load("a1").state.balance == 4


# What cannot be read is refused, whoever asks.

WAYS: dict[str, Callable[[Repository[Account]], object]] = {
    "load": lambda accounts: accounts.load("a1"),
    "load a version": lambda accounts: accounts.load("a1", version=2),
    "load as recorded": lambda accounts: accounts.load("a1", recorded_until=datetime(2999, 1, 1, tzinfo=UTC)),
    "load as occurred": lambda accounts: accounts.load("a1", occurred_until=datetime(2999, 1, 1, tzinfo=UTC)),
    "history": lambda accounts: list(accounts.history("a1")),
    "timeline": lambda accounts: list(accounts.timeline("a1")),
    "execute": lambda accounts: accounts.execute("a1", Pay(Decimal(1))),
    "execute with an id": lambda accounts: accounts.execute("a1", Pay(Decimal(1)), command_id="c1"),
    "snapshot": lambda accounts: accounts.snapshot("a1"),
}


@pytest.fixture(params=WAYS)
def ask(request: pytest.FixtureRequest) -> Callable[[Repository[Account]], object]:
    return WAYS[request.param]


@pytest.mark.parametrize("newer", NEWER, ids=lambda newer: newer.type)
def test_what_newer_code_wrote_is_refused_with_both_schema_versions(
    store: Store, ask: Callable[[Repository[Account]], object], newer: NewEvent
) -> None:
    write(store, HISTORY[0][0], newer)
    before = rows(store)

    with pytest.raises(NewerSchemaVersion) as refused:
        ask(accounts_in(store, snapshots=ByHand()))

    error = refused.value
    assert (error.stream, error.version, error.type, error.stored, error.known) == (
        STREAM,
        2,
        newer.type,
        3,
        2,
    )
    assert str(error).startswith(f"Account-a1 version 2 ({newer.type}) cannot be read: it has schema version 3, ")
    assert "this code knows up to 2" in str(error)
    assert rows(store) == before


def test_what_nothing_turns_into_data_of_today_is_refused(
    store: Store, ask: Callable[[Repository[Account]], object]
) -> None:
    write(store, HISTORY[-1][0], HISTORY[4][0])
    before = rows(store)

    with pytest.raises(
        EventDecodingError, match=r"^Account-a1 version 2 \(Deposited\) .* has schema version 1, and nothing here turns"
    ):
        ask(Repository(store, Account, snapshots=ByHand()))

    assert rows(store) == before


def test_what_an_upcaster_fails_at_is_refused(store: Store, ask: Callable[[Repository[Account]], object]) -> None:
    write(store, HISTORY[0][0], NewEvent("PaidIn", '{"amount":"1"}'))
    before = rows(store)

    with pytest.raises(
        EventDecodingError, match=r"^Account-a1 version 2 \(PaidIn\) .* from PaidIn 1 to PaidIn 2 failed: KeyError"
    ):
        ask(accounts_in(store, snapshots=ByHand()))

    assert rows(store) == before


def test_newer_code_that_writes_in_between_stops_a_writer_with_older_code(store: Store) -> None:
    watched = WatchedStore(store)
    accounts = accounts_in(watched)
    accounts.execute("a1", Pay(Decimal(1)))
    watched.before("append", lambda: write(store, NEWER[0]))

    with pytest.raises(NewerSchemaVersion):
        accounts.execute("a1", Pay(Decimal(1)))

    assert store.version(STREAM) == 2


# What projectors read.


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with open_place(request.param, tmp_path) as opened:
        yield opened


class Payments(Projector):
    tables: ClassVar[Mapping[str, str]] = {"payments": "(position INTEGER, amount TEXT, currency TEXT, channel TEXT)"}

    @projects(MoneyIn)
    def _in(self, envelope: EventEnvelope[MoneyIn], tx: Transaction) -> None:
        paid = envelope.event
        tx.execute(
            "INSERT INTO {payments} VALUES (:position, :amount, :currency, :channel)",
            {
                "position": envelope.position,
                "amount": str(paid.amount),
                "currency": paid.currency,
                "channel": paid.channel,
            },
        )


class Spendings(Projector):
    tables: ClassVar[Mapping[str, str]] = {"spendings": "(amount TEXT)"}

    @projects(Withdrawn)
    def _out(self, envelope: EventEnvelope[Withdrawn], tx: Transaction) -> None:
        tx.execute("INSERT INTO {spendings} VALUES (:amount)", {"amount": str(envelope.event.amount)})


def runner_at(place: Place, *projectors: Projector, registry: EventRegistry | None = REGISTRY) -> ProjectionRunner:
    return ProjectionRunner(place.store, projectors, views=place.views, registry=registry)


def payments(place: Place) -> list[tuple[object, ...]]:
    return list(place.views.query(f"SELECT amount, currency, channel FROM payments ORDER BY {as_written(place.views)}"))  # noqa: S608


def spendings(place: Place) -> list[object]:
    return [
        amount
        for (amount,) in place.views.query(f"SELECT amount FROM spendings ORDER BY {as_written(place.views)}")  # noqa: S608
    ]


ALL_PAYMENTS = [
    ("1.00", "EUR", "counter"),
    ("20.00", "EUR", "post"),
    ("300.00", "EUR", "counter"),
    ("4000.00", "EUR", "counter"),
    ("50.00", "EGP", "counter"),
]
ALL_SPENDINGS = ["5.00", "6.00"]


def test_a_projector_gets_the_events_of_every_name_that_its_class_had(place: Place) -> None:
    write_history(place.store)

    runner_at(place, Payments(), Spendings()).catch_up()

    assert payments(place) == ALL_PAYMENTS
    assert spendings(place) == ALL_SPENDINGS


def test_a_rebuild_gets_them_too(place: Place) -> None:
    write_history(place.store)
    runner = runner_at(place, Payments(), Spendings())
    runner.catch_up()

    runner.rebuild()

    assert payments(place) == ALL_PAYMENTS
    assert spendings(place) == ALL_SPENDINGS


def test_of_many_pages_of_old_events_each_is_taken_once(place: Place) -> None:
    for _ in range(350):
        write_history(place.store)
    runner = runner_at(place, Payments())

    runner.catch_up()
    assert payments(place) == ALL_PAYMENTS * 350

    runner.rebuild()
    assert payments(place) == ALL_PAYMENTS * 350


@pytest.mark.parametrize("newer", NEWER, ids=lambda newer: newer.type)
def test_what_newer_code_wrote_stops_a_projector_before_it(place: Place, newer: NewEvent) -> None:
    write(place.store, HISTORY[0][0], HISTORY[4][0])
    write(place.store, newer)
    write(place.store, HISTORY[6][0])
    runner = runner_at(place, Payments(), Spendings())

    for _ in range(2):
        with pytest.raises(ProjectionError) as failed:
            runner.catch_up()
        assert (failed.value.projector, failed.value.version, failed.value.type) == ("Payments", 3, newer.type)
        cause = failed.value.__cause__
        assert isinstance(cause, NewerSchemaVersion)
        assert (cause.stream, cause.version, cause.stored, cause.known) == (STREAM, 3, 3, 2)
        assert payments(place) == [ALL_PAYMENTS[0], ALL_PAYMENTS[3]]


@pytest.mark.parametrize("newer", NEWER, ids=lambda newer: newer.type)
def test_it_stops_a_rebuild_as_well_and_leaves_the_old_view(place: Place, newer: NewEvent) -> None:
    write(place.store, HISTORY[0][0])
    runner = runner_at(place, Payments())
    runner.catch_up()
    write(place.store, newer)

    with pytest.raises(ProjectionError) as failed:
        runner.rebuild()

    assert isinstance(failed.value.__cause__, NewerSchemaVersion)
    assert payments(place) == [ALL_PAYMENTS[0]]


@event(name="Deposited")
@frozen
class FirstDeposited:
    amount: Decimal


class FirstPayments(Projector):
    """The projector as it was before there were currencies."""

    name = "Payments"
    tables: ClassVar[Mapping[str, str]] = Payments.tables

    @projects(FirstDeposited)
    def _in(self, envelope: EventEnvelope[FirstDeposited], tx: Transaction) -> None:
        values = {"position": envelope.position, "amount": str(envelope.event.amount)}
        tx.execute("INSERT INTO {payments} VALUES (:position, :amount, 'EUR', 'counter')", values)


def test_once_the_code_is_newer_too_it_goes_on_from_there(place: Place) -> None:
    write(place.store, *(HISTORY[index][0] for index in (0, 2, 4, 6)))
    registry = EventRegistry(FirstPayments, upcasters=[a_sum_is_an_amount, paid_in_is_deposited])
    with pytest.raises(ProjectionError) as failed:
        runner_at(place, FirstPayments(), registry=registry).catch_up()
    assert failed.value.version == 4
    assert [amount for amount, *_ in payments(place)] == ["1.00", "300.00", "4000.00"]

    runner_at(place, Payments()).catch_up()

    assert [amount for amount, *_ in payments(place)] == ["1.00", "300.00", "4000.00", "50.00"]


def test_a_corrected_upcaster_takes_effect_on_a_view_when_it_is_rebuilt(place: Place) -> None:
    write(place.store, NewEvent("Deposited", '{"amount":"400"}'))
    runner_at(place, Payments()).catch_up()
    write(place.store, NewEvent("Deposited", '{"amount":"500"}'))
    corrected = runner_at(place, Payments(), registry=EventRegistry(Account, upcasters=[it_was_in_cents]))

    corrected.catch_up()
    assert [amount for amount, *_ in payments(place)] == ["400", "5"]

    corrected.rebuild()
    assert [amount for amount, *_ in payments(place)] == ["4", "5"]


def test_what_nothing_turns_into_data_of_today_stops_a_projector(place: Place) -> None:
    write(place.store, HISTORY[4][0])

    with pytest.raises(ProjectionError) as failed:
        runner_at(place, Payments(), registry=None).catch_up()
    assert isinstance(failed.value.__cause__, EventDecodingError)
    assert "nothing here turns that into version 2" in str(failed.value)

    runner_at(place, Payments()).catch_up()
    assert payments(place) == [ALL_PAYMENTS[3]]


def test_what_an_upcaster_fails_at_stops_a_projector_until_it_is_mended(place: Place) -> None:
    write_history(place.store)
    write(place.store, NewEvent("PaidIn", '{"summe":"7.00"}'), HISTORY[4][0])

    with pytest.raises(ProjectionError) as failed:
        runner_at(place, Payments(), Spendings()).catch_up()
    assert (failed.value.version, failed.value.type) == (8, "PaidIn")
    assert "the upcaster from PaidIn 1 to PaidIn 2 failed: KeyError('sum')" in str(failed.value)
    assert payments(place) == ALL_PAYMENTS
    assert spendings(place) == ALL_SPENDINGS

    @upcaster("PaidIn", from_version=1, to_version=2)
    def mended(data: dict[str, Any]) -> dict[str, Any]:
        return {"amount": data["sum"] if "sum" in data else data["summe"]}

    registry = EventRegistry(Account, upcasters=[mended, *UPCASTERS[1:]])
    runner_at(place, Payments(), Spendings(), registry=registry).catch_up()
    assert payments(place) == [*ALL_PAYMENTS, ("7.00", "EUR", "counter"), ALL_PAYMENTS[3]]


def test_old_events_that_nobody_takes_need_not_be_readable(place: Place) -> None:
    write(place.store, NewEvent("PaidIn", '"?"'), NewEvent("Deposited", "[]", schema_version=99), HISTORY[5][0])

    runner_at(place, Spendings()).catch_up()

    assert spendings(place) == ["6.00"]


def test_nor_need_those_that_share_a_name_with_what_it_takes(place: Place) -> None:
    write(place.store, NewEvent("Booked", '{"pence":1}'), *(one for one, _ in HISTORY[3:4]))

    runner_at(place, Spendings()).catch_up()

    assert spendings(place) == ["5.00"]


def test_what_is_newer_under_a_shared_name_stops_all_who_take_something_of_that_name(place: Place) -> None:
    write(place.store, NewEvent("Booked", "{}", schema_version=3))

    for projector in (Payments(), Spendings()):
        with pytest.raises(ProjectionError) as failed:
            runner_at(place, projector).catch_up()
        assert isinstance(failed.value.__cause__, NewerSchemaVersion)


class PostOnly(Payments):
    name = "PostOnly"
    categories = ("Post",)
    tables: ClassVar[Mapping[str, str]] = {"payments": Payments.tables["payments"]}


def test_a_projector_of_one_category_leaves_old_events_of_others_alone(place: Place) -> None:
    write(place.store, NewEvent("PaidIn", '"?"'), NEWER[0])
    write(place.store, HISTORY[1][0], stream=StreamId("Post", "p1"))

    runner_at(place, PostOnly()).catch_up()

    assert payments(place) == [ALL_PAYMENTS[1]]
