"""Draw docs/flow.svg from docs/flow.toml: boxes on a grid, and arrows between them.

It needs nothing but Python, so whoever can run the tests can change the picture. The colours follow the scheme of the
reader's system, and have a background of their own, as a page may be dark where the system is light.
"""

import tomllib
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

DOCS = Path(__file__).parents[1] / "docs"

WIDTH, HEIGHT = 900, 276
BOX_WIDTH, BOX_HEIGHT = 104, 72
COLUMN_WIDTH, ROW_HEIGHT = 155, 120
LEFT, TOP = 10.5, 66.5
ABOVE = 28  # how far above the boxes an arrow goes that passes over some of them

STYLE = """
    text { font-family: system-ui, sans-serif; font-size: 12px; text-anchor: middle; fill: #57606a }
    .name { font-size: 14px; font-weight: 600; fill: #1f2328 }
    .paper { fill: #ffffff }
    .box { fill: #f6f8fa; stroke: #8c959f }
    .truth { fill: #ddf4ff; stroke: #0969da }
    .dashed { stroke-dasharray: 5 4 }
    .arrow { fill: none; stroke: #57606a; stroke-width: 1.5 }
    .tip { fill: #57606a }
    @media (prefers-color-scheme: dark) {
      text { fill: #b1bac4 }
      .name { fill: #f0f6fc }
      .paper { fill: #0d1117 }
      .box { fill: #161b22; stroke: #8b949e }
      .truth { fill: #0c2d6b; stroke: #58a6ff }
      .arrow { stroke: #b1bac4 }
      .tip { fill: #b1bac4 }
    }
"""


class Box:
    """A box and where it is."""

    def __init__(self, name: str, about: list[str], column: int, row: int, look: str = "") -> None:
        self.name = name
        self.about = about
        self.look = look
        self.left = LEFT + (column - 1) * COLUMN_WIDTH
        self.right = self.left + BOX_WIDTH
        self.top = TOP + (row - 1) * ROW_HEIGHT
        self.bottom = self.top + BOX_HEIGHT
        self.x = (self.left + self.right) / 2
        self.y = (self.top + self.bottom) / 2

    def draw(self) -> list[str]:
        """Draw the box with its name and what it is."""
        look = f"box {self.look}".strip()
        place = f'x="{self.left}" y="{self.top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
        first, second = self.about
        return [
            f'<rect class="{look}" {place} rx="8"/>',
            write(self.name, self.x, self.top + 24, look="name"),
            write(first, self.x, self.top + 44),
            write(second, self.x, self.top + 60),
        ]


def draw(flow: dict[str, Any]) -> str:
    """Return the picture as SVG."""
    boxes = {box["name"]: Box(**box) for box in flow["box"]}
    shapes = [shape for box in boxes.values() for shape in box.draw()]
    for arrow in flow["arrow"]:
        shapes += connect(boxes[arrow["from"]], boxes[arrow["to"]], arrow.get("label", ""), arrow.get("look", ""))
    between = (boxes["snapshot"].right + boxes["query"].left) / 2
    for number, line in enumerate(flow["remark"]):
        shapes.append(write(line, between, boxes["query"].y - 4 + number * 19))
    drawn = "\n".join(f"  {shape}" for shape in shapes)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img"
     aria-labelledby="title description">
  <title id="title">{escape(flow["title"])}</title>
  <desc id="description">{escape(flow["description"].strip())}</desc>
  <style>{STYLE}  </style>
  <marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse"
          orient="auto-start-reverse"><path class="tip" d="M0 0L10 5L0 10z"/></marker>
  <rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>
{drawn}
</svg>
"""


def connect(start: Box, end: Box, label: str, look: str) -> list[str]:
    """Draw an arrow: to the next box in the row or in the column, or above those in between."""
    if look == "above":
        height = start.top - ABOVE
        path = f"M{start.x} {start.top}V{height}H{end.x}V{end.top - 2}"
        place = ((start.x + end.x) / 2, height - 9)
    elif start.y == end.y:
        path = f"M{start.right} {start.y}H{end.left - 2}"
        place = ((start.right + end.left) / 2, start.y - 8)
    else:
        path = f"M{start.x} {start.bottom + (2 if look == 'both' else 0)}V{end.top - 2}"
        place = (start.x + 20, (start.bottom + end.top) / 2)
    both = ' marker-start="url(#tip)"' if look == "both" else ""
    arrow = f'<path class="arrow" d="{path}"{both} marker-end="url(#tip)"/>'
    return [arrow, write(label, *place)] if label else [arrow]


def write(text: str, x: float, y: float, *, look: str = "") -> str:
    """Write a line of text around the middle x."""
    looks = f' class="{look}"' if look else ""
    return f'<text{looks} x="{x:g}" y="{y:g}">{escape(text)}</text>'


def main() -> None:
    """Draw the picture anew."""
    flow = tomllib.loads((DOCS / "flow.toml").read_text(encoding="utf-8"))
    (DOCS / "flow.svg").write_text(draw(flow), encoding="utf-8")


if __name__ == "__main__":
    main()
