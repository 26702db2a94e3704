"""The code in the documents is tested: here is what that catches."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[2] / "conftest.py"


@pytest.fixture(autouse=True)
def _documents_are_tested(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # starts faster
    pytester.makeconftest(CONFTEST.read_text())


def test_python_fences_share_the_namespace_of_their_page(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\nx = 1\n```\n\n```python\nassert x == 1\n```\n")

    pytester.runpytest("page.md").assert_outcomes(passed=2)


def test_pages_do_not_share_a_namespace(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", one="```python\nx = 1\n```\n", two="```python\nx\n```\n")

    result = pytester.runpytest("one.md", "two.md")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines("*NameError: name 'x' is not defined")


def test_each_page_starts_in_an_empty_directory(pytester: pytest.Pytester) -> None:
    page = """\
        ```python
        from pathlib import Path

        assert not list(Path.cwd().iterdir())
        Path("left-behind").touch()
        ```
    """
    pytester.makefile(".md", one=page, two=page)

    pytester.runpytest("one.md", "two.md").assert_outcomes(passed=2)


def test_type_hints_of_a_page_resolve(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".md",
        page="""\
            ```python
            from typing import get_type_hints


            class Opened:
                before: "Opened"


            assert get_type_hints(Opened) == {"before": Opened}
            ```
        """,
    )

    pytester.runpytest("page.md").assert_outcomes(passed=1)


def test_code_that_raises_fails(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\n1 / 0\n```\n")

    pytester.runpytest("page.md").assert_outcomes(failed=1)


def test_fences_in_other_languages_are_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```text\n1 / 0\n```\n\n```console\n$ false\n```\n")

    pytester.runpytest("page.md").assert_outcomes()


def test_output_that_is_printed_passes(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\nprint(6 * 7)\n```\n\nIt is:\n\n```output\n42\n```\n")

    pytester.runpytest("page.md").assert_outcomes(passed=1)


def test_output_that_is_not_printed_fails(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\nprint(6 * 7)\n```\n\n```output\n43\n```\n")

    result = pytester.runpytest("page.md")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-43", "+42"])


def test_output_without_code_right_before_it_is_an_error(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\n```\n\n```text\n```\n\n```output\n```\n")

    result = pytester.runpytest("page.md")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines("*page.md, line 7, *: no python fence right before the output")


def test_docstrings_are_tested(pytester: pytest.Pytester) -> None:
    src = pytester.mkdir("src")
    (src / "module.py").write_text('"""\n>>> 6 * 7\n43\n"""\n')
    pytester.syspathinsert(src)

    result = pytester.runpytest("src")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Expected:", "    43", "Got:", "    42"])
