"""Run the code in the Markdown pages and in the docstrings as tests.

The ``python`` fences of a page run in order, in one namespace and in an empty directory.
An ``output`` fence states what the ``python`` fence right before it prints.
All other fences are left alone.
"""

import doctest
import io
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
    printed = io.StringIO()
    with redirect_stdout(printed):
        execute(example)
    actual = printed.getvalue()
    promised = example.region.lexemes.get("output", actual)
    diff = unified_diff(promised.splitlines(), actual.splitlines(), "promised", "printed", lineterm="")
    return "\n".join(diff)


@pytest.fixture(scope="module")
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give each document an empty working directory."""
    path = tmp_path_factory.mktemp("working_directory")
    with chdir(path):
        yield path


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
