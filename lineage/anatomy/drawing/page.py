"""A page as SVG and as PNG. It is 16:9, as a slide, and 1280 units wide.

On a slide of 13.33 inches a unit is 0.75 points, so FONT is 18 points. Every text states its length, so that it takes
the same room in any font. The ground is white, also on dark screens.
"""

import re
import tempfile
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import yaml

WIDTH, HEIGHT = 1280, 720
MARGIN = 24.0
FONT, LINE = 24, 28  # size of letters; distance of lines
FAMILIES = "Helvetica, Arial, Liberation Sans, Aileron, sans-serif"
INK, SOFT = "#1a1a1a", "#5a5a5a"

STYLE: Any = yaml.safe_load(Path(__file__).with_name("style.yaml").read_text())
ADVANCES = {letter: width for letters, width in STYLE["advances"].items() for letter in letters}

Point = tuple[float, float]
Box = tuple[float, float, float, float]  # left, top, right, bottom


def cross(text: str) -> str:
    """The text with a multiplication sign for the x of 3x3."""
    return re.sub(r"(?<![A-Za-z])x(?![A-Za-z])", "\u00d7", text)


def width_of(text: str, size: float = FONT) -> float:
    return sum(ADVANCES.get(letter, 556) for letter in cross(text)) * size / 1000


def overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def number(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


class Page:
    """SVG elements, in the order of painting.

    Attributes:
        texts: each text by the box that it takes.
    """

    def __init__(self, title: str, height: float = HEIGHT) -> None:
        self.title, self.height = title, height
        self.marks: list[str] = []
        self.texts: dict[Box, str] = {}

    def rectangle(self, box: Box, fill: str = "none", ink: str = "none", line: float = 1.2, **more: str) -> None:
        x, y, right, bottom = box
        size = f'x="{number(x)}" y="{number(y)}" width="{number(right - x)}" height="{number(bottom - y)}"'
        self.mark(f"<rect {size}", fill, ink, line, more)

    def circle(
        self, x: float, y: float, radius: float, fill: str, ink: str = INK, line: float = 1.5, **more: str
    ) -> None:
        self.mark(f'<circle cx="{number(x)}" cy="{number(y)}" r="{number(radius)}"', fill, ink, line, more)

    def path(self, commands: str, ink: str = INK, line: float = 1.5, **more: str) -> None:
        self.mark(f'<path d="{commands}"', "none", ink, line, more)

    def mark(self, start: str, fill: str, ink: str, line: float, more: dict[str, str]) -> None:
        attributes = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
        stroke = "" if ink == "none" else f' stroke="{ink}" stroke-width="{number(line)}"'
        self.marks.append(f'{start} fill="{fill}"{stroke}{attributes}/>')

    @staticmethod
    def box_of(text: str, x: float, y: float, anchor: str = "start", size: float = FONT, turned: bool = False) -> Box:
        """The box of a text whose baseline has its start, middle or end at (x, y); a turned text is read upwards."""
        length = width_of(text, size)
        before = {"start": 0.0, "middle": length / 2, "end": length}[anchor]
        if turned:
            return x - 0.74 * size, y - length + before, x + 0.22 * size, y + before
        return x - before, y - 0.74 * size, x - before + length, y + 0.22 * size

    def write(
        self, text: str, x: float, y: float, anchor: str = "start", size: float = FONT, turned: bool = False,
        ink: str = INK, bold: bool = False, halo: bool = False,
    ) -> None:  # fmt: skip
        """`bold` is drawn as an outline; `halo` is white, so that crossing lines do not touch the letters."""
        self.texts[self.box_of(text, x, y, anchor, size, turned)] = text
        place = f'x="{number(x)}" y="{number(y)}"'
        if turned:
            place = f'transform="translate({number(x)} {number(y)}) rotate(-90)"'
        side = "" if anchor == "start" else f' text-anchor="{anchor}"'
        start = f'<text {place} font-size="{number(size)}"{side}'
        length = f'textLength="{number(width_of(text, size))}" lengthAdjust="spacingAndGlyphs"'
        end = f"{length}>{escape(cross(text))}</text>"
        weight = f' stroke="{ink}" stroke-width="{number(size / 30)}"' if bold else ""
        if halo:
            self.marks.append(f'{start} stroke="#ffffff" stroke-width="5" stroke-linejoin="round" {end}')
        self.marks.append(f'{start} fill="{ink}"{weight} {end}')

    def svg(self) -> str:
        """The page's SVG, which has the same bytes on every machine."""
        size = f'viewBox="0 0 {WIDTH} {number(self.height)}"'
        start = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FAMILIES}">'
        ground = f'<rect width="{WIDTH}" height="{number(self.height)}" fill="#ffffff"/>'
        return "\n".join([start, f"<title>{escape(self.title)}</title>", ground, *self.marks, "</svg>\n"])


def png(svg: str) -> bytes:
    """The SVG as a picture, drawn by resvg in Pillow's own font, so that it is the same on every machine.

    That font has only ASCII, so the multiplication sign becomes an x again.
    """
    import resvg_py
    from PIL import ImageFont

    font = ImageFont.load_default(FONT)
    assert isinstance(font, ImageFont.FreeTypeFont)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "font.ttf"
        file.write_bytes(font.font_bytes)
        options: dict[str, Any] = {"width": WIDTH, "skip_system_fonts": True, "font_files": [str(file)]}
        return bytes(resvg_py.svg_to_bytes(svg_string=svg.replace("\u00d7", "x"), **options))
