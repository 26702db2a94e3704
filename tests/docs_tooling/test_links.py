"""Whoever follows a link from one page to another arrives, also where Sphinx does not look, as on GitHub."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def links(page: Path) -> Iterator[str]:
    """List where the links and pictures of a page lead, other than to the web."""
    for token in inside(page):
        target = token.attrs.get("href") or token.attrs.get("src")
        if target and "://" not in str(target):
            yield unquote(str(target))


def inside(page: Path) -> Iterator[Token]:
    """List what is in the text of a page, outside of its code."""
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        yield from token.children or ()


def anchors(page: Path) -> set[str]:
    """List the names that GitHub and Sphinx give to the headings of a page."""
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    headings = [tokens[place + 1] for place, token in enumerate(tokens) if token.type == "heading_open"]
    titles = ["".join(part.content for part in heading.children or ()) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_by_name_says_where_it_leads(page: Path) -> None:
    left_as_text = [token.content for token in inside(page) if token.type == "text" and "][" in token.content]

    assert not left_as_text
