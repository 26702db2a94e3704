"""The picture of the flow is what its text says, and can be read by those who do not see it."""

import tomllib
from pathlib import Path
from xml.etree import ElementTree as ET

from scripts.draw_flow import draw

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"

flow = tomllib.loads((DOCS / "flow.toml").read_text(encoding="utf-8"))
picture = (DOCS / "flow.svg").read_bytes()


def test_the_picture_is_what_its_text_makes() -> None:
    assert picture == draw(flow).encode(), "run: python scripts/draw_flow.py"


def test_the_picture_tells_what_it_shows() -> None:
    root = ET.fromstring(picture)  # noqa: S314  our own
    told = {element.get("id"): element.text for element in root}

    assert root.get("role") == "img"
    assert [told[name] for name in root.get("aria-labelledby", "").split()] == [
        flow["title"],
        flow["description"].strip(),
    ]


def test_the_words_of_the_picture_are_text() -> None:
    words = {text.text for text in ET.fromstring(picture).iter(f"{SVG}text")}  # noqa: S314  our own

    assert words >= {box["name"] for box in flow["box"]}
    assert words >= {arrow["label"] for arrow in flow["arrow"] if "label" in arrow}
