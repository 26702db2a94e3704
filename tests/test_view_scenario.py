"""A view scenario passes when the rows are as expected, and catches a view that depends on more than its events."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import frozen
from cattrs import Converter

from esbank import DefinitionError, EventEnvelope, EventRegistry, Metadata, Projector, projects, side_effects
from esbank.bank import (
    AccountClosed,
    AccountDetails,
    AccountOpened,
    BankAccount,
    Deposited,
    TransactionHistory,
    Withdrawn,
)
from esbank.store import StreamId, Transaction, ViewStore
from esbank.testing import Row, ViewScenario
from tests.doubles import KINDS, open_store

OPENED = AccountOpened("Ada", "EUR", Decimal("10.00"), Decimal("0.00"))
DEPOSITED = Deposited(Decimal("5.00"), Decimal("15.00"), "Bob")
WITHDRAWN = Withdrawn(Decimal("3.00"), Decimal("12.00"), "Eve")
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)

ADA = ViewScenario(AccountDetails).given(BankAccount, "acc-1", OPENED, DEPOSITED)
TWO = ADA.given(BankAccount, "acc-2", OPENED)


@frozen
class Rang:
    times: int = 1


BELL = StreamId("Bell", "front")


class Rings(Projector):
    """A view as it should be: the others here are wrong in one thing each."""

    tables: ClassVar[Mapping[str, str]] = {"rings": "(times BIGINT)"}

    @projects(Rang)
    def _rang(self, envelope: EventEnvelope[Rang], tx: Transaction) -> None:
        tx.execute("INSERT INTO {rings} VALUES (:times)", {"times": self.times(envelope)})

    def times(self, envelope: EventEnvelope[Rang]) -> int:
        return envelope.event.times


class CountingRings(Rings):
    """Counts in the object, and not in the table."""

    def __init__(self) -> None:
        self.counted = 0

    def times(self, envelope: EventEnvelope[Rang]) -> int:
        self.counted += envelope.event.times
        return self.counted


class RememberingRings(Rings):
    """Takes what it knows of the first event from memory; a rebuild hears it again, a restart does not."""

    def __init__(self) -> None:
        self.first = 0

    def times(self, envelope: EventEnvelope[Rang]) -> int:
        if envelope.position == 1:
            self.first = envelope.event.times
        return self.first


class TimedRings(Rings):
    """Asks somebody else."""

    clock = count()

    def times(self, _envelope: EventEnvelope[Rang]) -> int:
        return next(self.clock)


class BrokenRings(Rings):
    def times(self, envelope: EventEnvelope[Rang]) -> int:
        return 1 // (envelope.event.times - 2)


class Letters(Rings):
    sent: ClassVar[list[int]] = []

    @side_effects(Rang)
    def _write(self, envelope: EventEnvelope[Rang]) -> None:
        self.sent.append(envelope.event.times)


def complaint(projector: type[Rings]) -> str:
    with pytest.raises(AssertionError) as raised:
        ViewScenario(projector).given(BELL, Rang(3), Rang(4)).then()
    return str(raised.value)


class TestPassing:
    def test_rows_are_named_by_the_columns_that_matter(self) -> None:
        ADA.then(account_details=[{"account_id": "acc-1", "balance": "15.00", "deposit_count": 1}])

    def test_rows_come_in_any_order(self) -> None:
        rows = [{"account_id": "acc-2", "balance": "10.00"}, {"balance": "15.00", "account_id": "acc-1"}]

        TWO.then(account_details=rows)
        TWO.then(account_details=rows[::-1])

    def test_rows_are_tuples_of_all_columns(self) -> None:
        ViewScenario(Rings).given(BELL, Rang(), Rang(2)).then(rings=[(2,), (1,)])

    def test_nothing_given_is_an_empty_view(self) -> None:
        ViewScenario(AccountDetails).then(account_details=[])

    def test_a_query_returns_its_rows_in_its_order(self) -> None:
        TWO.then_query(
            "SELECT account_id, balance FROM account_details ORDER BY account_id DESC",
            [("acc-2", "10.00"), ("acc-1", "15.00")],
        )

    def test_what_was_given_before_is_not_changed_by_what_is_given_after(self) -> None:
        assert TWO is not ADA
        ADA.then_query("SELECT count(*) FROM account_details", [(1,)])

    def test_events_of_several_streams_come_in_the_order_given(self) -> None:
        TWO.given(BankAccount, "acc-1", WITHDRAWN).then_query(
            "SELECT account_id, balance FROM account_details ORDER BY account_id",
            [("acc-1", "12.00"), ("acc-2", "10.00")],
        )

    def test_events_that_the_projector_does_not_take_may_be_given(self) -> None:
        scenario = ViewScenario(TransactionHistory).given(BankAccount, "acc-1", OPENED, AccountClosed("moved"))

        scenario.given(BELL, Rang()).then(transaction_history=[{"version": 1, "kind": "opening balance"}])

    def test_metadata_and_times_are_those_of_their_group(self) -> None:
        late = NOON + timedelta(days=1)
        text = "%Y-%m-%dT%H:%M:%S.000000+00:00"
        scenario = (
            ViewScenario(TransactionHistory)
            .given(BankAccount, "acc-1", OPENED)
            .given(BankAccount, "acc-1", DEPOSITED, metadata=Metadata(actor="web", occurred_at=NOON), recorded_at=late)
            .given(BankAccount, "acc-1", WITHDRAWN)
        )

        scenario.then_query(
            "SELECT actor, occurred_at, recorded_at FROM transaction_history ORDER BY version",
            [
                (None, f"{datetime(2000, 1, 1, tzinfo=UTC):{text}}", f"{datetime(2000, 1, 1, tzinfo=UTC):{text}}"),
                ("web", f"{NOON:{text}}", f"{late:{text}}"),
                (None, f"{late:{text}}", f"{late:{text}}"),
            ],
        )

    def test_a_projector_with_parameters_is_made_by_a_function(self) -> None:
        class Scaled(Rings):
            def __init__(self, factor: int) -> None:
                self.factor = factor

            def times(self, envelope: EventEnvelope[Rang]) -> int:
                return self.factor * envelope.event.times

        ViewScenario(lambda: Scaled(10)).given(BELL, Rang(3)).then(rings=[(30,)])

    def test_side_effects_are_left_out(self) -> None:
        ViewScenario(Letters).given(BELL, Rang(3), Rang(4)).then(rings=[(3,), (4,)])

        assert Letters.sent == []

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_tables_may_be_in_any_store_that_keeps_views(self, kind: str, tmp_path: Path) -> None:
        number = count()

        @contextmanager
        def views() -> Iterator[ViewStore]:
            with open_store(kind, tmp_path, name=f"{next(number)}.db") as store:
                yield store

        scenario = ViewScenario(AccountDetails, views=views).given(BankAccount, "acc-1", OPENED, DEPOSITED)

        scenario.then(account_details=[{"account_id": "acc-1", "balance": "15.00"}])


class TestFailing:
    def test_a_wrong_value_is_pointed_at(self) -> None:
        with pytest.raises(AssertionError) as caught:
            TWO.then(
                account_details=[
                    {"account_id": "acc-1", "balance": "16.00"},
                    {"account_id": "acc-2", "balance": "10.00"},
                ]
            )

        assert str(caught.value).splitlines() == [
            "the rows of account_details are not those expected (-), but (+):",
            "- {'account_id': 'acc-1', 'balance': '16.00'}",
            "?                                      ^",
            "+ {'account_id': 'acc-1', 'balance': '15.00'}",
            "?                                      ^",
            "  {'account_id': 'acc-2', 'balance': '10.00'}",
        ]

    @pytest.mark.parametrize(
        "ids", [[], ["acc-1"], ["acc-1", "acc-1"], ["acc-1", "acc-2", "acc-2"]], ids=["none", "few", "other", "many"]
    )
    def test_the_rows_must_be_just_those(self, ids: list[str]) -> None:
        with pytest.raises(AssertionError, match="the rows of account_details are not those expected"):
            TWO.then(account_details=[{"account_id": one} for one in ids])

    def test_a_query_must_return_its_rows_in_this_order(self) -> None:
        with pytest.raises(AssertionError, match="the query does not return the rows expected"):
            TWO.then_query("SELECT account_id FROM account_details ORDER BY account_id", [("acc-2",), ("acc-1",)])

    def test_a_handler_that_fails_is_shown_as_it_is(self) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            ViewScenario(BrokenRings).given(BELL, Rang(1), Rang(2)).then()

        assert caught.value.__notes__ == ["The projector took Bell-front version 2 (Rang)."]
        assert caught.traceback[-1].name == "times"

    def test_a_table_that_the_projector_does_not_declare_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"no table 'accounts'; it declares account_details"):
            ADA.then(accounts=[])

    @pytest.mark.parametrize("other", [{"balance": "10.00"}, ("acc-1",)], ids=["other columns", "a tuple"])
    def test_rows_of_one_table_say_the_same_columns(self, other: Row) -> None:
        with pytest.raises(ValueError, match="make the rows of account_details all tuples, or all dicts"):
            ADA.then(account_details=[{"account_id": "acc-1"}, other])

    def test_events_are_given_in_the_order_in_which_they_were_recorded(self) -> None:
        with pytest.raises(ValueError, match="give events in the order in which they were recorded"):
            ViewScenario(Rings).given(BELL, Rang(), recorded_at=NOON).given(
                BELL, Rang(), recorded_at=NOON - timedelta(seconds=1)
            )


class TestDepending:
    """A view that depends on anything but its events."""

    def test_one_as_it_should_be_passes(self) -> None:
        ViewScenario(Rings).given(BELL, Rang(3), Rang(4)).then()

    @pytest.mark.parametrize("projector", [CountingRings, TimedRings])
    def test_a_view_that_comes_out_otherwise_in_a_rebuild_is_caught(self, projector: type[Rings]) -> None:
        assert complaint(projector).startswith("rings has other rows (+) after a rebuild than when")

    def test_a_view_that_needs_what_its_projector_remembers_is_caught(self) -> None:
        message = complaint(RememberingRings)

        assert message.startswith(
            "rings has other rows (+) when a new projector takes each event in a batch of its own"
        )
        assert "- (3,)" in message
        assert "+ (0,)" in message

    def test_tables_that_are_not_named_are_compared_too(self) -> None:
        with pytest.raises(AssertionError, match="after a rebuild"):
            ViewScenario(CountingRings).given(BELL, Rang(3)).then_query("SELECT 1", [(1,)])


class Weight:
    """Somebody else's class, which forgets its decimals when it is written."""

    def __init__(self, kilograms: Decimal) -> None:
        self.kilograms = kilograms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weight) and self.kilograms == other.kilograms

    __hash__ = None


@frozen
class Weighed:
    weight: Weight


def rounding(converter: Converter) -> None:
    converter.register_unstructure_hook(Weight, lambda weight: int(weight.kilograms))
    converter.register_structure_hook(Weight, lambda kilograms, _: Weight(Decimal(kilograms)))


class Weights(Projector):
    categories: ClassVar[Collection[str] | None] = ("Scale",)
    tables: ClassVar[Mapping[str, str]] = {"weights": "(kilograms TEXT)"}

    @projects(Weighed)
    def _weighed(self, envelope: EventEnvelope[Weighed], tx: Transaction) -> None:
        tx.execute("INSERT INTO {weights} VALUES (:kg)", {"kg": str(envelope.event.weight.kilograms)})


class TestStoring:
    scenario = ViewScenario(Weights, registry=EventRegistry(Weights, hooks=rounding))

    def test_types_of_ones_own_are_stored_by_the_hooks_of_the_registry(self) -> None:
        self.scenario.given(StreamId("Scale", "1"), Weighed(Weight(Decimal(2)))).then(weights=[("2",)])

    def test_an_event_that_does_not_come_back_the_same_is_caught(self) -> None:
        with pytest.raises(AssertionError, match="does not survive being stored"):
            self.scenario.given(StreamId("Scale", "1"), Weighed(Weight(Decimal("1.5"))))

    def test_what_is_no_event_is_an_error(self) -> None:
        with pytest.raises(DefinitionError):
            ViewScenario(Rings).given(BELL, "rang")


@pytest.mark.parametrize("stream", [(OPENED,), (BankAccount,)], ids=["an event", "no key"])
def test_what_has_happened_has_happened_in_a_stream(stream: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError, match="say in which stream"):
        ViewScenario(AccountDetails).given(*stream)
