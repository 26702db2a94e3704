"""Read data that would like to run, and tell what Python's own audit has seen meanwhile."""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from hostile_events import CODEC, FIELDS, stored

from esbank import EsbankError, EveryNEvents, Metadata, Repository
from esbank._schema_lock import compare_schemas
from esbank.backends.jsonl import JsonlLog
from esbank.backends.memory import MemoryEventStore
from esbank.backends.sqlite import SQLiteEventStore
from esbank.bank import BankAccount, OpenAccount
from esbank.store import ANY_VERSION, NewEvent, StreamId
from esbank.transfer import copy_events
from esbank.verification import verify

folder = Path(sys.argv[1])
harm = str(folder / "harmed")
WISHES = [
    f"open({harm!r}, 'w')",
    f"__import__('os').system('touch {harm}')",
    "{0.__class__.__mro__}",
    "{self.__init__.__globals__}",
    "%(__class__)s",
    "os.system",
    "antigravity",
    "antigravity:geohash",
    "esbank.bank.account.BankAccount",
    "builtins.exec",
    f"!!python/object/apply:os.system ['touch {harm}']",
    f"cos\nsystem\n(S'touch {harm}'\ntR.",
    "\x80\x04\x95",
]
SHAPES = [
    lambda wish: wish,
    lambda wish: {"__class__": wish},
    lambda wish: {"py/object": wish, "py/reduce": [wish, [wish]]},
    lambda wish: {"$type": wish, "_type": wish, "type": wish},
    lambda wish: {"__reduce__": [wish, [wish]]},
    lambda wish: {wish: wish},
    lambda wish: [wish],
]
WATCHED = ("exec", "compile", "import", "open", "os.", "subprocess.", "ctypes.", "pickle.", "marshal.", "socket.")

seen: list[tuple[str, str]] = []
watching = False


def audit(name: str, arguments: tuple[object, ...]) -> None:
    if watching and name.startswith(WATCHED):
        seen.append((name, str(arguments[0]) if arguments else ""))


def attempt(read: Callable[[], object]) -> None:
    with suppress(EsbankError, ValueError):
        read()


def read_all(data: object) -> None:
    """Read a wish wherever it may be stored."""
    text = json.dumps(data)
    name = json.loads(text) if isinstance(data, str) else "Everything"
    attempt(lambda: CODEC.decode(stored(text, name)))
    for field in FIELDS:
        attempt(lambda: CODEC.decode(stored(json.dumps({field: data}))))  # noqa: B023 - called at once
    attempt(lambda: Metadata.from_json(json.dumps({"extra": {"wish": data}, "actor": str(data)})))
    for told in ({"format": 1, "events": data}, {"format": 1, "events": {"Everything": {"2": {"part": data}}}}):
        lock.write_text(json.dumps(told))
        attempt(lambda: list(map(str, compare_schemas(lock, CODEC.registry))))
    line = json.dumps({"position": 1, "type": data, "data": text, "store": text, "class": data})
    log.write_text(f'{{"format":"esbank events","version":1,"store":"a"}}\n{line}\n')
    attempt(lambda: JsonlLog(log))
    with closing(sqlite3.connect(file)) as database:
        database.execute("UPDATE esbank_snapshots SET state = ?", (text,))
        database.commit()
    attempt(lambda: accounts.load("1"))
    attempt(lambda: store.append(StreamId("Wish", "1"), [NewEvent(str(data), text)], expected_version=ANY_VERSION))


def is_expected(name: str, argument: str) -> bool:
    """Tell whether it is one of the files that are read that is opened."""
    return name == "open" and argument in {str(one) for one in (file, lock, log)}


file, lock, log = folder / "events.db", folder / "schema.json", folder / "events.jsonl"
logging.disable()  # a traceback in the log parses lines of the source, to underline them
sys.addaudithook(audit)
with SQLiteEventStore(file) as store:
    accounts = Repository(store, BankAccount, snapshots=EveryNEvents(1), cache=0)
    accounts.execute("1", OpenAccount("Alice"))
    read_all("what is imported late is imported now")
    with MemoryEventStore() as target:
        copy_events(store, target)
    verify(store)
    watching = True
    wishes = [shape(wish) for wish in WISHES for shape in SHAPES]
    for wish in wishes:
        read_all(wish)
    with MemoryEventStore() as target:
        copy_events(store, target)
    verify(store)
    watching = False
surprises = [one for one in seen if not is_expected(*one)]
seen.clear()
watching = True
exec("import colorsys")  # noqa: S102 - to see that it would be seen
watching = False
control = sorted({name for name, _ in seen} & {"exec", "import"})
sys.stdout.write(json.dumps({"read": len(wishes) * len(FIELDS), "surprises": surprises, "control": control}))
