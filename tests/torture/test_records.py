"""What is put down survives a kill, and says what may be in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from esbank.testing.torture._findings import Findings
from esbank.testing.torture._journal import Answered, Began, Conflicted, Entry, Journal, Lines, Unanswered, entries
from esbank.testing.torture._plan import Name, make_plan, name_of
from esbank.testing.torture._records import Records

BEGAN = Began(3, 10, [0])
ANSWERED = Answered(3, (10, 20), [1], [1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "writer-0.log"


def test_a_line_that_was_cut_short_is_no_line(path: Path) -> None:
    path.write_bytes(b"one\ntwo\nthr")

    with Lines(path) as lines:
        assert lines.tail == [b"one", b"two"]
        lines.write(b"three", b"four")

    assert path.read_bytes() == b"one\ntwo\nthree\nfour\n"


def test_of_a_long_file_only_the_end_is_read(path: Path) -> None:
    with Lines(path) as lines:
        lines.write(*(b"%d" % number for number in range(500_000)))

    with Lines(path) as lines:
        assert lines.tail[-1] == b"499999"
        assert lines.tail == [b"%d" % number for number in range(500_000 - len(lines.tail), 500_000)]


def test_an_entry_that_was_cut_short_was_never_made(path: Path) -> None:
    with Journal(path) as journal:
        journal.write(BEGAN)
        journal.write(ANSWERED)
    path.write_bytes(path.read_bytes()[:-1])

    assert list(entries(path)) == [BEGAN]


@pytest.mark.parametrize(
    ("before", "unfinished", "next_number"),
    [
        ([], None, 0),
        ([BEGAN], BEGAN, 4),
        ([BEGAN, Unanswered(3, (10, 20), "away")], BEGAN, 4),
        ([BEGAN, ANSWERED], None, 4),
        ([BEGAN, Conflicted(3, (10, 20), "A-1", "0", 1)], None, 4),
        ([BEGAN, ANSWERED, Began(1, 30, [0])], None, 4),
        ([Began(2, 1, [0]), Answered(2, (1, 2), [1], [1]), BEGAN], BEGAN, 4),
    ],
)
def test_a_writer_goes_on_where_its_predecessor_was_killed(
    path: Path, before: list[Entry], unfinished: Began | None, next_number: int
) -> None:
    with Journal(path) as journal:
        for entry in before:
            journal.write(entry)

    with Journal(path) as journal:
        assert journal.unfinished == unfinished
        assert journal.next_number == next_number


@pytest.mark.parametrize(
    ("expected", "tries", "is_refused"),
    [("0", 1, True), ("0", 2, True), ("a stream that exists", 1, True), ("a stream that exists", 2, False)],
)
def test_only_where_a_stream_need_but_exist_can_a_killed_try_succeed_after_a_refusal(
    expected: str, tries: int, *, is_refused: bool
) -> None:
    records = Records(Findings())

    records.add(0, [*[BEGAN] * tries, Conflicted(3, (10, 20), "A-1", expected, 7)])

    assert records.attempts[Name(0, 3)].is_refused is is_refused


def test_a_plan_is_the_same_whenever_it_is_made() -> None:
    name = Name(2, 17)

    plan = make_plan(5, name, transactions=True)

    assert plan == make_plan(5, name, transactions=True)
    assert plan != make_plan(6, name, transactions=True)
    assert [name_of(new.event_id) for _, new in plan.events] == [(name, index) for index in range(len(plan.events))]
