"""Run the code in the Markdown pages and in the docstrings as tests.

The ``python`` fences of a page run in order, in one namespace and in an empty directory.
An ``output`` fence states what the ``python`` fence right before it prints.
All other fences are left alone.

A ``python`` fence that begins with the comment ``# shop.py`` is that file, and one that begins with
``# shop.py, continued`` is more of it: it is saved, and then run as ``python shop.py``.
A page whose name begins with a number goes on from those before it: it finds the files that they have left.
"""

import doctest
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from difflib import unified_diff
from pathlib import Path
from types import ModuleType

import pytest
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.parsers.rest import DocTestParser

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent

FILE = re.compile(r"# (?P<name>\w+\.py)(?P<continued>, continued)?\n")

find_fences = FencedCodeBlockLexer(language=".*")
execute = PythonEvaluator()


class Page(Document):
    """A page whose namespace is a module's, which is where type hints are looked up."""

    def __init__(self, text: str, path: str) -> None:
        """Register the page's module."""
        super().__init__(text, path)
        name = ".".join(Path(path).relative_to(ROOT).with_suffix("").parts)
        module = sys.modules[name] = ModuleType(name)
        self.namespace = vars(module)


def find_examples(page: Document) -> list[Region]:
    """Return the ``python`` fences of a page, together with their ``output`` fences."""
    examples: list[Region] = []
    previous = ""
    for fence in find_fences(page):
        language = fence.lexemes["language"].strip()
        source = fence.lexemes["source"]
        if language == "python":
            examples.append(Region(fence.start, fence.end, source, run))
        elif language == "output":
            if previous != "python":
                position = page.line_column(fence.start)
                msg = f"{page.path}, {position}: no python fence right before the output"
                raise ValueError(msg)
            examples[-1].lexemes["output"] = source
        previous = language
    return examples


def run(example: Example) -> str:
    """Run a ``python`` fence and return how its output differs from the promised one."""
    if file := FILE.match(example.parsed):
        actual = save_and_run(file)
    else:
        printed = io.StringIO()
        with redirect_stdout(printed):
            execute(example)
        actual = printed.getvalue()
    promised = example.region.lexemes.get("output", actual)
    diff = unified_diff(promised.splitlines(), actual.splitlines(), "promised", "printed", lineterm="")
    return "\n".join(diff)


def save_and_run(file: re.Match[str]) -> str:
    """Save a fence in the file that it names, and return what that prints: what somebody who types along sees."""
    with Path(file["name"]).open("a" if file["continued"] else "w") as saved:
        saved.write(file.string)
    command = [sys.executable, "-W", "error", file["name"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own pages
    if done.returncode != 0:
        pytest.fail(f"{file['name']} fails:\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def working_directory(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give each document an empty working directory, or the files of the pages that it goes on from."""
    path = tmp_path_factory.mktemp("working_directory")
    with chdir(path):
        for page in pages_before(request.path):
            for fence in find_examples(Document(page.read_text(), str(page))):
                if file := FILE.match(fence.parsed):
                    save_and_run(file)
        yield path


def pages_before(page: Path) -> list[Path]:
    """Return the numbered pages beside a numbered page that come before it."""
    numbered = sorted(page.parent.glob("[0-9]*.md"))
    return numbered[: numbered.index(page)] if page in numbered else []


pages = Sybil(
    [find_examples],
    pattern="*.md",
    document_types={".md": Page},
    fixtures=["working_directory"],
)
docstrings = Sybil(
    [DocTestParser(doctest.ELLIPSIS)],
    path="src",
    pattern="*.py",
    fixtures=["working_directory"],
)
pytest_collect_file = (pages + docstrings).pytest()
