"""The glossary stays one: short, in order, and with a way from each word to the page that tells more."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "glossary.md"


def entries() -> dict[str, str]:
    """List what the glossary says of each word."""
    page = PAGE.read_text(encoding="utf-8")
    (text,) = re.findall(r"^```\{glossary\}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    blocks = [block.split("\n", 1) for block in text.strip().split("\n\n")]
    return {word: " ".join(explanation.split()) for word, explanation in blocks}


def test_the_words_are_in_the_order_of_the_alphabet() -> None:
    words = [word.casefold() for word in entries()]

    assert words == sorted(words)


@pytest.mark.parametrize("word", entries())
def test_a_word_is_explained_in_two_sentences_at_most_and_leads_on(word: str) -> None:
    explanation = entries()[word]

    assert re.search(r"\]\(.+?\)|\{py:\w+\}`", explanation)
    assert len(re.findall(r"[.?](?: |$)", explanation)) <= 2
