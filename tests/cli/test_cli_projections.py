"""``python -m esbank projections``: it shows, runs, rebuilds and unsticks views, from outside of their program."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TypeAlias

import pytest
from commands import Result, Run, WriteModule

from esbank import ProjectionRunner
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import Bank
from esbank.store import ANY_VERSION, NewEvent, StreamId

SHOP = """\
import os
from collections.abc import Mapping
from typing import ClassVar

from attrs import frozen

from esbank import EventEnvelope, Projector, projects
from esbank.store import Transaction


@frozen
class Sold:
    item: str
    pieces: int


class Sales(Projector):
    tables: ClassVar[Mapping[str, str]] = {"sales": "(position INTEGER PRIMARY KEY, item TEXT NOT NULL)"}

    @projects(Sold)
    def _sold(self, envelope: EventEnvelope[Sold], tx: Transaction) -> None:
        values = {"position": envelope.position, "item": envelope.event.item}
        tx.execute("INSERT INTO {sales} VALUES (:position, :item)", values)


class Stock(Projector):
    tables: ClassVar[Mapping[str, str]] = {"stock": "(item TEXT PRIMARY KEY, pieces INTEGER NOT NULL)"}
    at_first: ClassVar[Mapping[str, int]] = {"tea": 100, "cup": 50}

    @projects(Sold)
    def _sold(self, envelope: EventEnvelope[Sold], tx: Transaction) -> None:
        sold = envelope.event
        tx.execute(
            "INSERT INTO {stock} VALUES (:item, :at_first - :sold)"
            " ON CONFLICT (item) DO UPDATE SET pieces = pieces - :sold",
            {"item": sold.item, "sold": sold.pieces, "at_first": self.at_first[sold.item]},
        )


class Views:
    STOCK = Stock()
    ALL = (Sales, Stock())
    CLASSES = [Sales, Stock]


class Counting(Sales):
    def __init__(self, first: int) -> None:
        self.first = first


not_any = [Sales(), "Stock"]
EMPTY: list[Projector] = []
"""
TILL = StreamId("Till", "north")

Start: TypeAlias = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def shop(module: WriteModule) -> None:
    module("shop", SHOP)


@pytest.fixture
def store(folder: Path) -> Iterator[SQLiteEventStore]:
    """Open the store that is under the eyes of the commands."""
    with SQLiteEventStore(folder / "shop.db") as opened:
        yield opened


@pytest.fixture
def begin(folder: Path) -> Iterator[Start]:
    """Begin a command as a person does, from a shell in the folder, and do not wait for its end."""
    with ExitStack() as stack:

        def begin(*arguments: object, **options: object) -> subprocess.Popen[str]:
            command = [sys.executable, "-W", "error", "-m", "esbank", "projections", *map(str, arguments)]
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    cwd=folder,
                    stdout=subprocess.PIPE,
                    stderr=options.get("stderr", subprocess.PIPE),  # type: ignore[call-overload]
                    text=True,
                )
            )
            stack.callback(process.kill)
            return process

        yield begin


def sell(store: SQLiteEventStore, *items: str) -> None:
    events = [NewEvent("Sold", f'{{"item":"{item}","pieces":1}}') for item in items]
    store.append(TILL, events, expected_version=ANY_VERSION)


def sales(store: SQLiteEventStore) -> list[str]:
    return [item for (item,) in store.query("SELECT item FROM sales ORDER BY position")]


def stock(store: SQLiteEventStore) -> dict[str, int]:
    return dict(store.query("SELECT item, pieces FROM stock"))


def lines(output: str) -> list[list[str]]:
    """Split a table into its cells, of which at least two blanks are in between."""
    return [re.split(r"  +", line.rstrip()) for line in output.splitlines()]


def cell(output: str, projector: str, title: str) -> str:
    """Find what a table says of a projector."""
    titles, *rows = lines(output)
    (row,) = [row for row in rows if row[0] == projector]
    return row[titles.index(title)]


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def wait_for_sales(store: SQLiteEventStore, *items: str) -> None:
    wait_until(lambda: bool(store.query("SELECT 1 FROM sqlite_master WHERE name = 'sales'")))
    wait_until(lambda: sales(store) == list(items))


def end(process: subprocess.Popen[str], by: signal.Signals) -> Result:
    process.send_signal(by)
    output, errors = process.communicate(timeout=30)
    return Result(process.returncode, output, errors)


# What status shows.


def test_status_is_a_table(start: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea", "tea")
    runner_of(store).catch_up("Sales")
    sell(store, "cup")

    result = start("projections", "status", "shop.db", "shop:Views.ALL")

    assert (result.code, result.errors) == (0, "")
    seconds = cell(result.output, "Sales", "for")
    assert lines(result.output) == [
        ["projector", "state", "position", "head", "behind", "for", "untold", "skipped"],
        ["Sales", "behind", "2", "3", "1", seconds, "0", "0"],
        ["Stock", "new", "0", "3", "3", cell(result.output, "Stock", "for"), "0", "0"],
    ]
    assert re.fullmatch(r"\d+ s", seconds)


def runner_of(store: SQLiteEventStore, views: SQLiteEventStore | None = None) -> ProjectionRunner:
    import shop  # type: ignore[import-not-found]  # noqa: PLC0415 - it was written for this test

    return ProjectionRunner(store, [shop.Sales(), shop.Stock()], views=views)


def test_a_long_name_is_not_cut_where_a_script_reads_it(
    start: Run, store: SQLiteEventStore, module: WriteModule
) -> None:
    name = "shop." + "a" * 120
    module("shop", SHOP.replace("class Sales(Projector):", f"class Sales(Projector):\n    name = {name!r}", 1))
    sell(store, "tea")

    result = start("projections", "status", "shop.db", "shop:Sales")

    assert cell(result.output, name, "behind") == "1"
    assert all(line == line.rstrip() for line in result.output.splitlines())


def test_an_empty_store_has_nothing_to_follow(run: Run, store: SQLiteEventStore) -> None:
    result = run("projections", "status", "shop.db", "shop:Sales")

    assert result.code == 0
    assert lines(result.output)[1] == ["Sales", "new", "0", "0", "0", "0 s", "0", "0"]
    runner_of(store).catch_up()
    assert cell(run("projections", "status", "shop.db", "shop:Sales").output, "Sales", "state") == "current"


@pytest.mark.usefixtures("store")
def test_looking_makes_no_views(run: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea")

    for _ in range(2):
        assert run("projections", "status", "shop.db", "shop:Sales").code == 0

    assert store.query("SELECT name FROM sqlite_master WHERE name = 'sales'") == []


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=30), r"3\d s"),
        (timedelta(seconds=119), "119 s|2 min"),
        (timedelta(minutes=30), "30 min"),
        (timedelta(hours=1, minutes=59), "119 min"),
        (timedelta(hours=50), "50 h"),
    ],
)
def test_how_long_an_event_has_waited_is_in_fitting_units(run: Run, folder: Path, ago: timedelta, shown: str) -> None:
    now = time.time_ns()
    with SQLiteEventStore(folder / "old.db", clock=lambda: now - ago // timedelta(microseconds=1) * 1000) as store:
        sell(store, "tea")

    result = run("projections", "status", "old.db", "shop:Sales")

    assert re.fullmatch(shown, cell(result.output, "Sales", "for"))


def test_large_numbers_are_readable(run: Run, store: SQLiteEventStore) -> None:
    sell(store, *["tea"] * 1_234)

    assert cell(run("projections", "status", "shop.db", "shop:Sales").output, "Sales", "behind") == "1,234"


def test_a_projector_that_has_stopped_is_named_with_why(start: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea", "mug", "tea")
    with pytest.raises(Exception, match="mug"):
        runner_of(store).catch_up()

    result = start("projections", "status", "shop.db", "shop:Views.ALL")

    assert (result.code, result.errors) == (1, "")
    assert cell(result.output, "Sales", "state") == "current"
    assert cell(result.output, "Stock", "state") == "stopped"
    assert cell(result.output, "Stock", "position") == "1"
    assert result.output.splitlines()[-1] == "Stock failed at position 2: KeyError: 'mug'"


def test_a_projector_that_is_tried_again_is_no_finding(run: Run, store: SQLiteEventStore, module: WriteModule) -> None:
    source = SHOP.replace("import EventEnvelope, Projector", "import EventEnvelope, Projector, Retry")
    module("shop", source.replace("at_first: ", "retry = Retry(delay=60, most=60)\n    at_first: ", 1))
    sell(store, "mug")
    stop = threading.Event()
    runner = runner_of(store)
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: runner.status()[1].error is not None)
        result = run("projections", "status", "shop.db", "shop:Stock")
    finally:
        stop.set()
        thread.join()

    assert result.code == 0
    assert cell(result.output, "Stock", "state") == "retrying"
    assert "Stock failed at position 1: KeyError: 'mug'" in result.output


def test_a_view_that_another_version_has_made_is_a_finding(
    run: Run, store: SQLiteEventStore, module: WriteModule
) -> None:
    sell(store, "tea")
    runner_of(store).catch_up()
    newer(module)

    result = run("projections", "status", "shop.db", "shop:Views.ALL")

    assert result.code == 1
    assert [row[1] for row in lines(result.output)] == ["state", "outdated", "current"]


def test_a_view_of_another_store_is_a_finding(run: Run, store: SQLiteEventStore, folder: Path) -> None:
    with SQLiteEventStore(folder / "views.db") as views:
        runner_of(store, views).catch_up()
    with SQLiteEventStore(folder / "other.db") as other:
        sell(other, "tea")

    result = run("projections", "status", "other.db", "shop:Sales", "--views", "views.db")

    assert result.code == 1
    assert cell(result.output, "Sales", "state") == "outdated"


def newer(module: WriteModule) -> None:
    """Let the shop have the next version of its sales, which speaks louder."""
    source = SHOP.replace("class Sales(Projector):", "class Sales(Projector):\n    version = 2", 1)
    module("shop", source.replace("envelope.event.item}", "envelope.event.item.upper()}"))


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("where", ["shop.db", "./shop.db", "sqlite:///shop.db"])
def test_a_store_is_named_by_path_or_url(run: Run, where: str) -> None:
    assert run("projections", "status", where, "shop:Sales").code == 0


# Targets.


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("targets", "projectors"),
    [
        (["shop:Sales"], ["Sales"]),
        (["shop:Views.STOCK"], ["Stock"]),
        (["shop:Views.ALL"], ["Sales", "Stock"]),
        (["shop:Views.CLASSES"], ["Sales", "Stock"]),
        (["shop:Stock", "shop:Sales"], ["Stock", "Sales"]),
        (["shop:EMPTY", "shop:Sales"], ["Sales"]),
    ],
)
def test_a_target_is_a_class_an_object_or_several(run: Run, targets: list[str], projectors: list[str]) -> None:
    result = run("projections", "status", "shop.db", *targets)

    assert result.code == 0
    assert [row[0] for row in lines(result.output)[1:]] == projectors


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ([], "name the projectors, as in esbank.bank:AccountDetails"),
        (["shop"], "'shop' is no target: write module:name"),
        (["shop:Nothing"], "shop:Nothing: module 'shop' has no attribute 'Nothing'"),
        (
            ["no_shop:Sales"],
            "no_shop:Sales: No module named 'no_shop'; run the command where the module can be imported",
        ),
        (["shop:not_any"], "shop:not_any is no projector: 'Stock'"),
        (["shop:os"], "shop:os is no projector: <module 'os'"),
        (["shop:Views"], "shop:Views is no projector: <class 'shop.Views'>"),
        (["shop:Counting"], "missing 1 required positional argument: 'first'; name an object of the class"),
        (["esbank.bank:Bank"], "esbank.bank:Bank is no projector: <class 'esbank.bank.service.Bank'>"),
        (["shop:Sales", "shop:Views.ALL"], "Sales and Sales share the name"),
    ],
)
@pytest.mark.parametrize("command", ["status", "run", "rebuild"])
def test_a_target_that_is_no_projector_is_said(
    run: Run, folder: Path, targets: list[str], problem: str, command: str
) -> None:
    result = run("projections", command, "shop.db", *targets)

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors
    assert not (folder / "shop.db-claims").exists()


@pytest.mark.parametrize("command", ["status", "run", "rebuild"])
@pytest.mark.parametrize("where", [["missing.db"], ["shop.db", "--views", "missing.db"]], ids=["of events", "of views"])
@pytest.mark.usefixtures("store")
def test_a_store_that_is_not_there_is_said_and_not_made(run: Run, folder: Path, where: list[str], command: str) -> None:
    result = run("projections", command, *where, "shop:Sales")

    assert (result.code, result.output) == (2, "")
    assert "missing.db: there is no event store here; check the path" in result.errors
    assert not (folder / "missing.db").exists()


# Running.


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_runner_follows_until_it_is_told_to_stop(begin: Start, store: SQLiteEventStore, by: signal.Signals) -> None:
    sell(store, "tea")
    process = begin("run", "shop.db", "shop:Views.ALL")
    wait_for_sales(store, "tea")
    for number in range(3):
        sell(store, "cup")
        wait_for_sales(store, "tea", *["cup"] * (number + 1))

    result = end(process, by)

    assert (result.code, result.errors) == (0, "")
    first, table = result.output.split("\n", 1)
    assert first == "Running. Stop with Ctrl-C."
    assert [row[:5] for row in lines(table)[1:]] == [
        ["Sales", "current", "4", "4", "0"],
        ["Stock", "current", "4", "4", "0"],
    ]
    assert stock(store) == {"tea": 99, "cup": 47}


def test_what_is_being_done_when_it_is_told_to_stop_is_finished(begin: Start, store: SQLiteEventStore) -> None:
    sell(store, *["tea"] * 30_000)
    process = begin("run", "shop.db", "shop:Views.ALL")
    wait_until(lambda: bool(store.query("SELECT 1 FROM sqlite_master WHERE name = 'stock'")))

    result = end(process, signal.SIGTERM)

    assert (result.code, result.errors) == (0, "")
    table = result.output.split("\n", 1)[1]
    assert cell(table, "Sales", "position") == f"{len(sales(store)):,}"
    assert cell(table, "Stock", "position") == f"{100 - stock(store)['tea']:,}"


def test_a_runner_that_is_told_to_stop_does_not_go_through_a_long_log_first(
    begin: Start, store: SQLiteEventStore, module: WriteModule
) -> None:
    values = 'values = {"position"'
    slow = f"import time; time.sleep(0.001)\n        {values}"
    module("shop", SHOP.replace(values, slow, 1))
    sell(store, *["tea"] * 20_000)
    process = begin("run", "shop.db", "shop:Sales")
    wait_until(lambda: bool(store.query("SELECT 1 FROM sqlite_master WHERE name = 'sales'")))
    wait_until(lambda: bool(sales(store)))

    result = end(process, signal.SIGTERM)

    assert result.code == 0
    assert cell(result.output.split("\n", 1)[1], "Sales", "state") == "behind"
    assert len(sales(store)) % 1_000 == 0


def test_the_signals_are_as_before_when_it_has_ended(run: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea")
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def stop_it() -> None:
        wait_for_sales(store, "tea")
        os.kill(os.getpid(), signal.SIGTERM)

    other = threading.Thread(target=stop_it)
    other.start()
    result = run("projections", "run", "shop.db", "shop:Sales")
    other.join()

    assert result.code == 0
    assert {one: signal.getsignal(one) for one in before} == before


def test_a_runner_that_was_killed_is_followed_by_the_next(begin: Start, store: SQLiteEventStore) -> None:
    for number in count():
        sell(store, "tea")
        process = begin("run", "shop.db", "shop:Views.ALL")
        wait_for_sales(store, *["tea"] * (number + 1))
        if number == 2:
            break
        process.kill()
        process.wait()

    assert end(process, signal.SIGINT).code == 0
    assert stock(store) == {"tea": 97}


def test_a_second_runner_is_refused(begin: Start, start: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea")
    process = begin("run", "shop.db", "shop:Sales")
    wait_for_sales(store, "tea")

    second = start("projections", "run", "shop.db", "shop:Views.ALL")

    assert second.code == 2
    assert "'Sales' is being run already, in this process or in another one." in second.errors
    assert end(process, signal.SIGINT).code == 0


def test_two_runners_of_different_projectors_get_on(begin: Start, store: SQLiteEventStore) -> None:
    sell(store, "tea")
    processes = [begin("run", "shop.db", "shop:Sales"), begin("run", "shop.db", "shop:Stock")]
    wait_for_sales(store, "tea")
    wait_until(lambda: bool(store.query("SELECT 1 FROM sqlite_master WHERE name = 'stock'")))
    wait_until(lambda: stock(store) == {"tea": 99})

    assert [end(process, signal.SIGINT).code for process in processes] == [0, 0]


def test_a_runner_whose_projector_has_stopped_ends_with_1(begin: Start, store: SQLiteEventStore) -> None:
    sell(store, "mug")
    process = begin("run", "shop.db", "shop:Views.ALL")
    wait_for_sales(store, "mug")
    runner = runner_of(store)
    wait_until(lambda: runner.status()[1].error is not None)
    sell(store, "tea")
    wait_for_sales(store, "mug", "tea")

    result = end(process, signal.SIGTERM)

    assert result.code == 1
    assert "Stock failed at position 1: KeyError: 'mug'" in result.output


def test_what_is_outdated_is_not_run_unless_it_is_rebuilt(
    begin: Start, start: Run, store: SQLiteEventStore, module: WriteModule
) -> None:
    sell(store, "tea")
    runner_of(store).catch_up()
    newer(module)

    refused = start("projections", "run", "shop.db", "shop:Sales")

    assert refused.code == 2
    assert "'Sales': its view was made by version 1 of it, and this is version 2; rebuild the view" in refused.errors
    process = begin("run", "shop.db", "shop:Sales", "--rebuild-outdated")
    wait_for_sales(store, "TEA")
    assert end(process, signal.SIGINT).code == 0


# Rebuilding.


def test_a_rebuild_makes_the_views_anew(start: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea", "cup")
    runner_of(store).catch_up()
    spoil(store)

    result = start("projections", "rebuild", "shop.db", "shop:Views.ALL")

    assert (result.code, result.errors) == (0, "")
    assert [row[:3] for row in lines(result.output)[1:]] == [["Sales", "current", "2"], ["Stock", "current", "2"]]
    assert sales(store) == ["tea", "cup"]
    assert stock(store) == {"tea": 99, "cup": 49}


def spoil(store: SQLiteEventStore) -> None:
    with store.view_transaction() as tx:
        tx.execute("DELETE FROM sales")
        tx.execute("DELETE FROM stock")


@pytest.mark.parametrize(
    ("only", "sold", "left"),
    [
        (["--only", "Sales"], ["tea"], {}),
        (["--only", "Stock"], [], {"tea": 99}),
        (["--only", "Sales", "--only", "Stock"], ["tea"], {"tea": 99}),
    ],
)
def test_only_some_may_be_rebuilt(
    run: Run, store: SQLiteEventStore, only: list[str], sold: list[str], left: dict[str, int]
) -> None:
    sell(store, "tea")
    runner_of(store).catch_up()
    spoil(store)

    assert run("projections", "rebuild", "shop.db", "shop:Views.ALL", *only).code == 0

    assert (sales(store), stock(store)) == (sold, left)


@pytest.mark.usefixtures("store")
def test_a_projector_that_is_not_there_cannot_be_rebuilt(run: Run) -> None:
    result = run("projections", "rebuild", "shop.db", "shop:Views.ALL", "--only", "Sails")

    assert (result.code, result.output) == (2, "")
    assert result.errors == "no projector is named 'Sails'; there are Sales, Stock\n"


def test_a_rebuild_that_fails_leaves_the_old_view_and_says_where(run: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea")
    runner_of(store).catch_up()
    sell(store, "mug")

    result = run("projections", "rebuild", "shop.db", "shop:Views.ALL")

    assert (result.code, result.output) == (2, "")
    assert "projector 'Stock' failed at position 2 (Sold, Till-north version 2): KeyError('mug')" in result.errors
    assert stock(store) == {"tea": 99}
    assert sales(store) == ["tea", "mug"]


def dying(module: WriteModule) -> None:
    """Let the sales write down what they handle, and die after two pages, unless there is a file `live`."""
    method = 8 * " "
    dies = (
        'with open("handled", "a", encoding="utf-8") as handled:',
        "    print(envelope.position, file=handled)",
        'if envelope.position == 2001 and not os.path.exists("live"):',
        "    os._exit(9)",
        "",
    )
    values = 'values = {"position"'
    module("shop", SHOP.replace(values, f"\n{method}".join(dies) + values, 1))


def test_a_rebuild_that_died_goes_on_where_it_was(
    start: Run, run: Run, store: SQLiteEventStore, module: WriteModule, folder: Path
) -> None:
    sell(store, *["tea"] * 2_500)
    dying(module)

    assert start("projections", "rebuild", "shop.db", "shop:Sales").code == 9
    assert sales(store) == []
    (folder / "live").touch()
    (folder / "handled").unlink()
    assert run("projections", "rebuild", "shop.db", "shop:Sales", "--resume").code == 0

    assert (folder / "handled").read_text().splitlines() == [str(number) for number in range(2_001, 2_501)]
    assert len(sales(store)) == 2_500


def test_a_rebuild_begins_anew_unless_it_is_to_go_on(
    start: Run, run: Run, store: SQLiteEventStore, module: WriteModule, folder: Path
) -> None:
    sell(store, *["tea"] * 2_500)
    dying(module)
    assert start("projections", "rebuild", "shop.db", "shop:Sales").code == 9
    (folder / "live").touch()
    (folder / "handled").unlink()

    assert run("projections", "rebuild", "shop.db", "shop:Sales").code == 0

    assert (folder / "handled").read_text().splitlines() == [str(number) for number in range(1, 2_501)]
    assert len(sales(store)) == 2_500


def test_whoever_looks_on_sees_how_far_a_rebuild_is(store: SQLiteEventStore, folder: Path) -> None:
    sell(store, *["tea"] * 3_000)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "esbank", "projections", "rebuild", "shop.db", "shop:Sales"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=follower, env=environment, text=True
    ) as process:
        os.close(follower)
        seen = b""
        while chunk := read_terminal(leader):
            seen += chunk
        output, _ = process.communicate(timeout=60)
    os.close(leader)

    assert process.returncode == 0
    assert cell(output, "Sales", "state") == "current"
    assert b"Rebuilding" in seen
    assert b"3000/3000" in seen


def read_terminal(leader: int) -> bytes:
    try:
        return os.read(leader, 4096) if select.select([leader], [], [], 60)[0] else b""
    except OSError:  # the other end was closed
        return b""


# Views in a store of their own.


def test_views_may_be_in_another_store(run: Run, begin: Start, store: SQLiteEventStore, folder: Path) -> None:
    sell(store, "tea")
    with SQLiteEventStore(folder / "views.db") as views:
        process = begin("run", "shop.db", "shop:Sales", "--views", "views.db")
        wait_for_sales(views, "tea")
        assert end(process, signal.SIGINT).code == 0
        elsewhere = ["shop.db", "shop:Sales", "--views", "views.db"]
        assert cell(run("projections", "status", *elsewhere).output, "Sales", "state") == "current"
        with views.view_transaction() as tx:
            tx.execute("DELETE FROM sales")

        assert run("projections", "rebuild", *elsewhere).code == 0
        assert sales(views) == ["tea"]

    assert cell(run("projections", "status", "shop.db", "shop:Sales").output, "Sales", "state") == "new"
    assert store.query("SELECT 1 FROM sqlite_master WHERE name = 'sales'") == []


# Skipping.


def skip(position: object, *more: str) -> list[str]:
    return ["projections", "skip", "shop.db", "--position", str(position), "--by", "ops-1", *more]


def test_an_event_is_skipped_and_it_is_kept_by_whom_and_why(start: Run, run: Run, store: SQLiteEventStore) -> None:
    sell(store, "tea", "mug", "tea")
    runner = runner_of(store)
    with pytest.raises(Exception, match="mug"):
        runner.catch_up()

    result = start(*skip(2, "--reason", "there are no mugs", "--only", "Stock", "shop:Views.ALL"))

    assert (result.code, result.errors) == (0, "")
    assert cell(result.output, "Stock", "state") == "behind"
    assert (cell(result.output, "Stock", "skipped"), cell(result.output, "Sales", "skipped")) == ("1", "0")
    (mug,) = store.read(TILL, after=1, up_to=2)
    assert store.query(
        "SELECT projector, position, stream, version, event_id, type, reason, skipped_by FROM esbank_skipped_events"
    ) == [("Stock", 2, "Till-north", 2, str(mug.event_id), "Sold", "there are no mugs", "ops-1")]
    runner.catch_up()
    assert stock(store) == {"tea": 98}
    assert run("projections", "rebuild", "shop.db", "shop:Views.ALL").code == 0
    assert (stock(store), sales(store)) == ({"tea": 98}, ["tea", "mug", "tea"])


def test_a_runner_that_has_stopped_goes_on_by_itself(begin: Start, start: Run, store: SQLiteEventStore) -> None:
    sell(store, "mug", "tea")
    process = begin("run", "shop.db", "shop:Stock")
    runner = runner_of(store)
    wait_until(lambda: runner.status()[1].error is not None)

    assert start(*skip(1, "--reason", "there are no mugs", "shop:Stock")).code == 0

    wait_until(lambda: stock(store) == {"tea": 99})
    assert end(process, signal.SIGTERM).code == 0


def test_projectors_that_have_stopped_are_told_to_go_on(run: Run, store: SQLiteEventStore) -> None:
    sell(store, "mug")
    with pytest.raises(Exception, match="mug"):
        runner_of(store).catch_up()
    assert cell(run("projections", "status", "shop.db", "shop:Views.ALL").output, "Stock", "state") == "stopped"

    result = run("projections", "resume", "shop.db", "shop:Views.ALL", "--only", "Stock")

    assert result.code == 0
    assert cell(result.output, "Stock", "state") == "behind"


def test_one_projector_needs_no_name_to_skip(run: Run, store: SQLiteEventStore) -> None:
    sell(store, "mug")

    assert run(*skip(1, "--reason", "no mugs", "shop:Stock")).code == 0

    runner_of(store).catch_up()
    assert stock(store) == {}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (skip(1, "--reason", "x", "shop:Views.ALL"), "say which projector is to skip it; there are Sales, Stock"),
        (skip(1, "--reason", "x", "--only", "Mugs", "shop:Sales"), "no projector is named 'Mugs'; there are Sales"),
        (skip(1, "--reason", " ", "shop:Sales"), "say who skips the event, and why: by=… and a reason"),
        (skip(9, "--reason", "x", "shop:Sales"), "there is no event at position 9"),
        (skip(0, "--reason", "x", "shop:Sales"), "there is no event at position 0"),
        (skip(-1, "--reason", "x", "shop:Sales"), "there is no event at position -1"),
        (skip(2, "--reason", "x", "shop:Sales"), "projector 'Sales' does not take the AccountOpened at position 2"),
        (skip("two", "--reason", "x", "shop:Sales"), "two"),
        (skip(1, "shop:Sales"), "--reason"),
        (skip(1, "--reason", "x"), "name the projectors, as in esbank.bank:AccountDetails"),
    ],
)
def test_a_mistake_skips_nothing(run: Run, store: SQLiteEventStore, arguments: list[str], problem: str) -> None:
    sell(store, "tea")
    Bank(store).open_account("acc-001", "Alice")
    run("projections", "rebuild", "shop.db", "shop:Sales")

    result = run(*arguments)

    assert (result.code, result.output) == (2, "")
    assert problem in result.errors
    assert store.query("SELECT * FROM esbank_skipped_events") == []


@pytest.mark.parametrize("command", ["status", "run", "rebuild", "skip"])
def test_every_command_explains_itself(run: Run, command: str) -> None:
    result = run("projections", command, "--help")

    assert (result.code, result.errors) == (0, "")
    assert result.output.startswith(f"Usage: python -m esbank projections {command} ")
    assert "exits with 1" in result.output
