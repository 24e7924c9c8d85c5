"""A page of a lecture, 16:9, written as SVG; and the same as PNG. Lengths are in units of a page 1280 wide.

On a page of 13.33 inches, a slide's, a unit is 0.75 points: FONT is 18 points. Every text states its length, so that
it takes the same room in any font. White is painted under everything, for dark screens.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1280, 720
FONT, LINE = 24, 28  # of letters; from line to line
FAMILIES = "Helvetica, Arial, Liberation Sans, Aileron, sans-serif"
INK, SOFT = "#1a1a1a", "#5a5a5a"

# Advances of Helvetica in thousandths of the size; 556 where not named.
ADVANCES = {
    **dict.fromkeys("ijl'", 222), **dict.fromkeys("ft ,./:;[]I|", 278), **dict.fromkeys("r()-", 333),
    **dict.fromkeys("ckvxyzsJ", 500), **dict.fromkeys("ABEKPSVXY", 667), **dict.fromkeys("CDHNRUw", 722),
    **dict.fromkeys("GOQ", 778), **dict.fromkeys("FTZ", 611), **dict.fromkeys("\u00d7+=<>", 584),
    **dict.fromkeys("mM", 833), "W": 944, "%": 889, "\u00b7": 278,
}  # fmt: skip

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


def cross(text: str) -> str:
    """3x3 with the sign of multiplication."""
    return re.sub(r"(?<![A-Za-z])x(?![A-Za-z])", "\u00d7", text)


def width_of(text: str, size: float = FONT) -> float:
    return sum(ADVANCES.get(letter, 556) for letter in cross(text)) * size / 1000


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Page:
    """What is painted, in order, and the ground that texts take."""

    def __init__(self, title: str, height: float = HEIGHT) -> None:
        self.title, self.height = title, height
        self.marks: list[str] = []
        self.texts: dict[Box, str] = {}

    def rectangle(self, box: Box, fill: str = "none", ink: str = "none", line: float = 1.2, **more: str) -> None:
        x, y, right, bottom = box
        size = f'x="{number(x)}" y="{number(y)}" width="{number(right - x)}" height="{number(bottom - y)}"'
        self.mark(f"<rect {size}", fill, ink, line, more)

    def circle(
        self, x: float, y: float, radius: float, fill: str = "none", ink: str = INK, line: float = 1.5, **more: str
    ) -> None:
        self.mark(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"', fill, ink, line, more)

    def path(self, commands: str, ink: str = INK, line: float = 1.5, **more: str) -> None:
        self.mark(f'<path d="{commands}"', "none", ink, line, more)

    def mark(self, start: str, fill: str, ink: str, line: float, more: dict[str, str]) -> None:
        words = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
        stroke = "" if ink == "none" else f' stroke="{ink}" stroke-width="{number(line)}"'
        self.marks.append(f'{start} fill="{fill}"{stroke}{words}/>')

    def polyline(self, points: Sequence[Point], ink: str = SOFT, line: float = 1.5) -> None:
        self.path("M" + " L".join(f"{number(x)} {number(y)}" for x, y in points), ink, line)

    def box_of(
        self, text: str, x: float, y: float, anchor: str = "start", size: float = FONT, turned: bool = False
    ) -> Box:
        """The ground of a text whose baseline starts, has its middle, or ends at (x, y); turned, it is read upwards."""
        length = width_of(text, size)
        before = {"start": 0.0, "middle": length / 2, "end": length}[anchor]
        if turned:
            return x - 0.74 * size, y - length + before, x + 0.22 * size, y + before
        return x - before, y - 0.74 * size, x - before + length, y + 0.22 * size

    def write(
        self, text: str, x: float, y: float, anchor: str = "start", size: float = FONT, turned: bool = False,
        ink: str = INK, bold: bool = False, halo: bool = False,
    ) -> None:  # fmt: skip
        """Bold is drawn as an outline; a halo is white, over lines that cross."""
        self.texts[self.box_of(text, x, y, anchor, size, turned)] = text
        place = f'x="{number(x)}" y="{number(y)}"'
        if turned:
            place = f'transform="translate({number(x)} {number(y)}) rotate(-90)"'
        room = f'textLength="{number(width_of(text, size))}" lengthAdjust="spacingAndGlyphs"'
        side = "" if anchor == "start" else f' text-anchor="{anchor}"'
        weight = f' stroke="{ink}" stroke-width="{number(size / 30)}"' if bold else ""
        if halo:
            self.marks.append(
                f'<text {place} font-size="{number(size)}"{side} stroke="#ffffff" stroke-width="5" '
                f'stroke-linejoin="round" {room}>{escape(cross(text))}</text>'
            )
        self.marks.append(
            f'<text {place} font-size="{number(size)}"{side} fill="{ink}"{weight} {room}>{escape(cross(text))}</text>'
        )

    def svg(self) -> str:
        """The same marks are the same bytes."""
        size = f'viewBox="0 0 {WIDTH} {number(self.height)}"'
        start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FAMILIES}">'
        ground = f'<rect width="{WIDTH}" height="{number(self.height)}" fill="#ffffff"/>'
        return "\n".join([start, f"<title>{escape(self.title)}</title>", ground, *self.marks, "</svg>\n"])


def png(svg: str, width: int = WIDTH) -> bytes:
    """The picture in points, drawn by resvg in the font that Pillow carries, so it is the same on every machine.

    That font has the letters of ASCII: the cross of 3x3 is an x.
    """
    import resvg_py
    from PIL import ImageFont

    font = ImageFont.load_default(FONT)
    assert isinstance(font, ImageFont.FreeTypeFont)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "font.ttf"
        file.write_bytes(font.font_bytes)
        text = svg.replace("\u00d7", "x")
        return bytes(
            resvg_py.svg_to_bytes(svg_string=text, width=width, skip_system_fonts=True, font_files=[str(file)])
        )
