"""The suite that every store must pass: it takes a store at its word about what it can do, and catches broken ones."""

from collections.abc import Iterable
from pathlib import Path

import broken_appends
import broken_capabilities
import broken_contents
import broken_followers
import broken_processes
import broken_races
import broken_reads
import broken_repeats
import pytest
from broken_stores import CAUGHT_BY, Bare, Store

from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.testing.conformance import EventStoreConformance, _elsewhere
from esbank.testing.conformance._checkpoints import Checkpoints
from esbank.testing.conformance._claims import Claims
from esbank.testing.conformance._copies import Copies
from esbank.testing.conformance._inline import InlineHandlers
from esbank.testing.conformance._processes import Processes
from esbank.testing.conformance._snapshots import Snapshots
from esbank.testing.conformance._transaction_races import TransactionRaces
from esbank.testing.conformance._transactions import Transactions
from esbank.testing.conformance._views import Views

BASIC = "test_an_append_starts_a_stream_at_version_1"
"""What every store here passes: it is broken in one thing only."""

MISTAKES = ("E   NameError", "E   AttributeError", "E   TypeError")
"""What no store is meant to fail by: it would be broken in another way than it says."""

OPTIONAL = (Snapshots, Views, Claims, Checkpoints, Transactions, TransactionRaces, InlineHandlers, Copies, Processes)
SAY_SO = {
    "test_the_store_keeps_snapshots_if_it_says_so",
    "test_the_store_keeps_views_if_it_says_so",
    "test_the_store_has_transactions_if_it_says_so",
    "test_the_store_has_exclusive_transactions_if_it_says_so",
    "test_the_store_can_be_copied_if_it_says_so",
}
EVERYTHING = dict.fromkeys(
    ["has_snapshots", "has_views", "has_transactions", "has_exclusive_transactions", "can_be_copied"], True
)
NOTHING = dict.fromkeys([*EVERYTHING, "has_inline", "is_shared_by_processes"], False)

SECTIONS = {
    "Appends": broken_appends,
    "Repeats": broken_repeats,
    "Races": broken_races,
    "Several processes": broken_processes,
    "What is stored": broken_contents,
    "Reads": broken_reads,
    "Followers, and the end": broken_followers,
    "Optional capabilities": broken_capabilities,
}
PAGE = Path(__file__).parents[2] / "docs" / "broken-stores.md"


@pytest.fixture(autouse=True)
def _no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster


def run(
    pytester: pytest.Pytester, kind: type[Store | Bare], tests: Iterable[str], **flags: bool
) -> tuple[set[str], set[str], dict[str, str]]:
    """Run some tests of the suite on a store: return which passed, which were skipped, and why others failed."""
    pytester.makepyfile(
        f"""
        import {kind.__module__}
        from broken_stores import suite

        TestStore = suite({kind.__module__}.{kind.__name__}, {tuple(tests)}, **{flags})
        """
    )
    passed, skipped, failed = pytester.inline_run("-q", "--no-summary", "--tb=line").listoutcomes()
    errors = {name_of(report): str(report.longrepr) for report in failed if report.when == "call"}
    return {name_of(report) for report in passed} - set(errors), {name_of(report) for report in skipped}, errors


def name_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return the name of a test, without its parameters."""
    return report.nodeid.partition("[")[0].rpartition("::")[2]


@pytest.mark.parametrize("kind", CAUGHT_BY, ids=lambda kind: kind.__name__)
def test_a_broken_store_fails_the_tests_that_are_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, kind: type[Store]
) -> None:
    if kind is broken_processes.IsStuckElsewhere:
        monkeypatch.setattr(_elsewhere, "PATIENCE", 2.0)

    passed, _, errors = run(pytester, kind, [BASIC, *CAUGHT_BY[kind]])

    assert set(errors) == set(CAUGHT_BY[kind])
    assert passed == {BASIC}
    assert [error for error in errors.values() if error.startswith(MISTAKES)] == []


@pytest.mark.parametrize("kind", [MemoryEventStore, SQLiteEventStore])
def test_a_sound_store_passes_all_tests_that_catch_broken_ones(pytester: pytest.Pytester, kind: type[Store]) -> None:
    tests = {test for broken, caught_by in CAUGHT_BY.items() if issubclass(broken, kind) for test in caught_by}

    passed, _, errors = run(pytester, kind, tests)

    assert errors == {}
    assert passed == tests


def tables() -> str:
    """Write the tables of the page, from the stores."""
    lines: list[str] = []
    for title, module in SECTIONS.items():
        lines += ["", f"## {title}", "", "| What is broken | What catches it |", "| --- | --- |"]
        for kind, tests in CAUGHT_BY.items():
            if kind.__module__ == module.__name__:
                sentences = ", ".join(test.removeprefix("test_").replace("_", " ") for test in tests)
                lines.append(f"| {(kind.__doc__ or '').removesuffix('.')} | {sentences} |")
    return "\n".join([*lines, ""])


def test_the_page_of_broken_stores_has_all_of_them() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert page[page.index("\n## ") :] == tables()
    assert {kind.__module__ for kind in CAUGHT_BY} == {module.__name__ for module in SECTIONS.values()}


# What a store says it can do


def test_a_store_is_not_asked_for_what_it_does_not_claim(pytester: pytest.Pytester) -> None:
    tests = {name for part in OPTIONAL for name in vars(part) if name.startswith("test_")}

    passed, skipped, errors = run(pytester, Bare, tests, **NOTHING)

    assert errors == {}
    assert passed == SAY_SO
    assert skipped == tests - SAY_SO


@pytest.mark.parametrize(
    ("kind", "flags"), [(Bare, EVERYTHING), (SQLiteEventStore, NOTHING)], ids=["too much", "too little"]
)
def test_a_store_that_claims_what_is_not_so_fails(
    pytester: pytest.Pytester, kind: type[Store | Bare], flags: dict[str, bool]
) -> None:
    _, _, errors = run(pytester, kind, SAY_SO, **flags)

    assert set(errors) == SAY_SO


@pytest.mark.parametrize(("kind", "claimed"), [(MemoryEventStore, True), (SQLiteEventStore, False)])
def test_a_store_that_is_queried_otherwise_than_it_says_fails(
    pytester: pytest.Pytester, kind: type[Store], *, claimed: bool
) -> None:
    test = "test_a_query_sees_only_what_is_committed"

    _, _, errors = run(pytester, kind, [test], has_queries_during_transactions=claimed)

    assert set(errors) == {test}


def test_a_store_that_keeps_digests_and_says_that_it_does_not_fails(pytester: pytest.Pytester) -> None:
    test = "test_every_event_has_a_digest_if_the_store_says_so"

    _, _, errors = run(pytester, MemoryEventStore, [test], has_digests=False)

    assert set(errors) == {test}


def test_who_claims_that_a_store_can_be_opened_says_how(tmp_path: Path) -> None:
    with pytest.raises(NotImplementedError, match="is_shared_by_processes = False"):
        EventStoreConformance().open_elsewhere()
    with pytest.raises(NotImplementedError, match="has_inline = False"):
        EventStoreConformance().open_inline(tmp_path)
