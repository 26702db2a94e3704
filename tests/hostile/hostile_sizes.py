"""Read ten megabytes of one sort wherever text is read, within bounds, and say how often that was refused."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from hostile_events import CODEC, FIELDS, stored
from hostile_outcomes import refused

from esbank import Metadata
from esbank._schema_lock import compare_schemas
from esbank.backends.jsonl import JsonlLog
from esbank.verification import Head

SIZE = 10_000_000
MEMORY = 1_500_000_000
SECONDS = 120
TEXTS = {
    "brackets": "[" * SIZE,
    "braces": '{"a":' * (SIZE // 5),
    "digits": "1" * SIZE,
    "fraction": "0." + "1" * SIZE,
    "exponents": "1e" + "9" * SIZE,
    "text": '"' + "x" * SIZE + '"',
    "escapes": '"' + "\\ud83d\\ude00" * (SIZE // 12) + '"',
    "keys": "{" + ",".join(f'"{n}":0' for n in range(SIZE // 10)) + "}",
    "repeated": "{" + ",".join(['"a":0'] * (SIZE // 6)) + "}",
    "cut": "[" + "0," * (SIZE // 2),
    "zeros": "[" + "0," * (SIZE // 2) + "0]",
}


def main(sort: str, folder: Path) -> None:
    text = TEXTS.pop(sort)
    TEXTS.clear()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    count = len(refused(lambda data: CODEC.decode(stored(data)), [text, text.replace(" ", "")]))
    for field in FIELDS:
        count += len(refused(lambda data: CODEC.decode(stored(data)), [f'{{"{field}":{text}}}']))
    count += len(refused(Metadata.from_json, [text, f'{{"actor":{text}}}']))
    count += len(refused(Head.parse, [text]))
    lock, log = folder / "schema.json", folder / "events.jsonl"
    lock.write_text(f'{{"format":1,"events":{text}}}')
    count += len(refused(lambda file: compare_schemas(file, CODEC.registry), [lock]))
    log.write_text(f'{{"format":"esbank events","version":1,"store":"a"}}\n{{"data":{text}}}\n')
    count += len(refused(JsonlLog, [log]))
    sys.stdout.write(str(count))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
