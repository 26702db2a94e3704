"""A copy of the tree in which tests run: unchanged, to see which of them runs which line, and then with a mutant."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import pytest
from coverage import CoverageData

from esbank.testing.postgres import PostgresServer
from scripts.mutants.mutations import Mutant
from scripts.mutants.observed import Observed, take_notes
from scripts.mutants.parts import Part
from scripts.mutants.selection import NOTES, TESTS

Outcome: TypeAlias = Literal["killed", "timed out", "survived"]

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / "build" / "mutants"
PACKAGE: Final = Path("src", "esbank")
SERVER: Final = "ESBANK_TEST_POSTGRES_DSN"
LIST_FILES: Final = ("/usr/bin/env", "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
PYTEST: Final = (
    *("--quiet", "--exitfirst", "--tb=line", "--hypothesis-profile=ci", "-p", "scripts.mutants.selection"),
    *("-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="),
)
MEASURE: Final = ("--cov=esbank", "--cov-context=test", "--cov-report=", "--cov-fail-under=0")
PATIENCE: Final = 20
"""The seconds that a test may take beyond five times what it took with nothing changed."""
HOUR: Final = 3600


class Copy:
    """A copy of the tree as it is now, committed or not, with a PostgreSQL server of its own."""

    def __init__(self, name: str) -> None:
        self._folder = KEPT / name
        shutil.rmtree(self._folder, ignore_errors=True)
        for file in filter(None, subprocess.check_output(LIST_FILES, cwd=ROOT, text=True).split("\0")):
            if (ROOT / file).is_file():
                (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, self._folder / file)
        environment = {**os.environ, "PYTHONPATH": str(self._folder / "src")}
        # Checked by what is in them and not by their times, so that a mutant is never taken for what it was made of.
        compile_all = (sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "src")
        subprocess.check_call(compile_all, cwd=self._folder)
        where = (sys.executable, "-c", "import esbank; print(esbank.__file__, end='')")
        imported = subprocess.check_output(where, cwd=self._folder, env=environment, text=True)
        if Path(imported) != self._folder / PACKAGE / "__init__.py":
            sys.exit(f"the copy in {self._folder} is not what would be tested, but {imported}")
        self._server = PostgresServer()
        self._nursery = subprocess.Popen(
            (sys.executable, "-m", "scripts.mutants.nursery"),
            cwd=self._folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """Stop the server and remove the copy."""
        self._nursery.communicate()
        self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def sources(self, part: Part) -> dict[str, str]:
        """Return the texts of the modules of a part."""
        package = self._folder / PACKAGE
        paths = sorted(path for pattern in part.modules for path in package.glob(pattern))
        return {str(path.relative_to(package)): path.read_text() for path in paths}

    def observe(self, part: Part) -> Observed:
        """Run the tests of a part with nothing changed; end the program if one of them fails.

        What a file of tests does is kept, and observed again when that file or the part has changed.
        """
        sources = self.sources(part)
        observed = Observed()
        for file in sorted(path for pattern in part.tests for path in self._folder.glob(f"tests/{pattern}")):
            digest = hashlib.sha256(json.dumps([file.read_text(), sources, part.without]).encode()).hexdigest()
            kept = KEPT / "observed" / f"{digest}.json"
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(json.dumps(self._observe(file, part)))
            observed.add(json.loads(kept.read_text()))
        return observed

    def test(self, mutant: Mutant, tests: Mapping[str, float]) -> Outcome:
        """Run tests, of which it is known how long they take, with a mutant in its place."""
        path = self._folder / PACKAGE / mutant.module
        original = path.read_text()
        names = self._folder / "tests.json"
        names.write_text(json.dumps(list(tests)))
        patience = PATIENCE + 5 * max(tests.values())
        limits = ("-o", f"faulthandler_timeout={patience}", "-o", "faulthandler_exit_on_timeout=true")
        files = sorted({name.partition("::")[0] for name in tests})
        try:
            path.write_text(mutant.source)
            status, said = self._run(
                [*PYTEST, *limits, *files], {TESTS: str(names)}, timeout=patience + 5 * sum(tests.values())
            )
        finally:
            path.write_text(original)
        if status is None or "Timeout (" in said:
            self._server.close()
            self._server = PostgresServer()  # what was interrupted may have left it in any state
            return "timed out"
        return "killed" if status else "survived"

    def _observe(self, file: Path, part: Part) -> dict[str, Any]:
        notes, data = self._folder / "notes.json", CoverageData(str(self._folder / ".coverage"))
        which = ("-m", "not soak", "-k", f"not {part.without}" if part.without else "")
        status, said = self._run([*PYTEST, *MEASURE, *which, str(file)], {NOTES: str(notes)}, timeout=HOUR)
        if status not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            sys.exit(f"the tests fail with nothing changed:\n{said}")
        data.read()
        return take_notes(json.loads(notes.read_text()), data, self._folder / PACKAGE)

    def _run(
        self, arguments: Sequence[str], environment: Mapping[str, str], *, timeout: float
    ) -> tuple[int | None, str]:
        """Run tests; return their status, None if they took too long, and what they said."""
        said = self._folder / "said.txt"
        task = {
            "arguments": arguments,
            "environment": {SERVER: self._server.dsn, **environment},
            "said": str(said),
            "timeout": timeout,
        }
        print(json.dumps(task), file=self._nursery.stdin, flush=True)
        return json.loads(self._nursery.stdout.readline()), said.read_text(errors="replace")
