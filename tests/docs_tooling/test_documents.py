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


def test_a_fence_that_names_a_file_is_saved_and_run_by_itself(pytester: pytest.Pytester) -> None:
    page = """\
        ```python
        # shop.py
        stock = 6
        ```

        ```python
        # shop.py, continued
        print(stock * 7)
        ```

        ```output
        42
        ```

        ```python
        # visit.py
        from shop import stock

        print(stock, __name__)
        ```

        ```output
        42
        6 __main__
        ```
    """
    pytester.makefile(".md", page=page)

    pytester.runpytest("page.md").assert_outcomes(passed=3)


def test_a_file_that_prints_something_else_fails(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\n# shop.py\nprint(6 * 7)\n```\n\n```output\n43\n```\n")

    result = pytester.runpytest("page.md")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-43", "+42"])


def test_a_file_does_not_know_what_its_page_has_defined(pytester: pytest.Pytester) -> None:
    pytester.makefile(".md", page="```python\nx = 1\n```\n\n```python\n# shop.py\nx\n```\n")

    result = pytester.runpytest("page.md")

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*shop.py fails:", "NameError: name 'x' is not defined"])


def test_a_numbered_page_begins_with_what_the_pages_before_it_have_left(pytester: pytest.Pytester) -> None:
    first = """\
        ```python
        # shop.py
        from pathlib import Path

        sales = Path("sales")
        sales.mkdir(exist_ok=True)
        (sales / str(len(list(sales.iterdir())))).touch()
        ```

        ```python
        not_a_file = 1
        ```
    """
    second = """\
        ```python
        # shop.py, continued
        print(len(list(sales.iterdir())))
        ```

        ```output
        2
        ```
    """
    pytester.makefile(".md", **{"1-first": first, "2-second": second, "3-third": "```python\nnot_a_file\n```"})

    pytester.runpytest("2-second.md").assert_outcomes(passed=1)
    pytester.runpytest("1-first.md", "3-third.md").assert_outcomes(passed=2, failed=1)


def test_a_numbered_page_says_which_file_of_a_page_before_it_fails(pytester: pytest.Pytester) -> None:
    pytester.makefile(
        ".md", **{"1-first": "```python\n# shop.py\n1 / 0\n```\n", "2-second": "```python\nprint()\n```\n"}
    )

    result = pytester.runpytest("2-second.md")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["shop.py fails:", "ZeroDivisionError: division by zero"])


def test_docstrings_are_tested(pytester: pytest.Pytester) -> None:
    src = pytester.mkdir("src")
    (src / "module.py").write_text('"""\n>>> 6 * 7\n43\n"""\n')
    pytester.syspathinsert(src)

    result = pytester.runpytest("src")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Expected:", "    43", "Got:", "    42"])
