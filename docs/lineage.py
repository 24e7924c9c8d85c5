"""Draw docs/lineage.svg and .png: a row for each paper, from 1998 down to 2019; on its left arrows from the networks
whose ideas it took, on its right its networks by their errors: make docs

Errors, years and ideas are the papers' (archs/papers.csv, docs/papers.yaml); operations are counted here.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from docs.papers import ROOT, Family, counted, families
from lineage.analysis.papers import numbers, printed
from lineage.anatomy.drawing.page import SOFT, Page, png, width_of

FILES = (ROOT / "docs" / "lineage.svg", ROOT / "docs" / "lineage.png")
TITLE, NAME, TEXT, SMALL = 32.0, 25.0, 19.0, 17.0  # font sizes
TOP, LINE, SPACE = 124.0, 23.0, 14.0  # where the rows begin; distance of lines of text, and of rows
STEM, WORDS, END = 180.0, 198.0, 1262.0  # where arrows end, texts begin and rows end, from the left
DOT = 3.4  # radius of the dot that marks a network


class Axis(NamedTuple):
    """A logarithmic axis of errors, the largest at the left."""

    quantity: str
    title: str
    left: float
    right: float
    errors: tuple[float, ...]  # of its lines

    def place(self, error: float) -> float:
        first, *_, last = self.errors
        return self.left + (self.right - self.left) * math.log(first / error) / math.log(first / last)


AXES = (
    Axis("top1_error", "ImageNet, top-1 error, %", 690, 1010, (50, 40, 30, 25, 20, 16)),
    Axis("cifar10_error", "CIFAR-10, error, %", 1090, 1230, (9, 6, 4, 3)),
)


class Disc(NamedTuple):
    """A network; the disc's area is its multiply-adds. It is `hollow` if the paper prints only its top-5 error."""

    x: float
    radius: float
    label: str
    hollow: bool


def published(family: Family) -> tuple[int, int]:
    """Year and month: of an arXiv number, or the year alone."""
    found = re.search(r"arXiv (\d\d)(\d\d)\.", family.paper)
    return (2000 + int(found[1]), int(found[2])) if found else (family.year, 12)


def error_of(network: str, quantity: str) -> float | None:
    """In percent; None: the paper prints none."""
    found = printed(network, quantity)
    return float(found.value) if found else None


def similar_top1(top5: float) -> float:
    """The top-1 error of the network with the nearest top-5 error."""
    pairs = [(error_of(name, "top5_error"), error_of(name, "top1_error")) for name in numbers()]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    return min(known, key=lambda pair: abs(pair[0] - top5))[1]


def radius_of(millions: float) -> float:
    return 5.2 * math.sqrt(millions / 1000)


def discs(family: Family, axis: Axis) -> list[Disc]:
    """The networks of a paper on an axis, from the largest error to the smallest."""
    found = []
    for network in (entry.network for entry in family.entries):
        error, top5 = error_of(network, axis.quantity), error_of(network, "top5_error")
        hollow = error is None and top5 is not None and axis.quantity == "top1_error"
        error = similar_top1(top5) if hollow and top5 is not None else error
        macs = next((row["macs"] for row in counted()[network] if row["macs"]), None)
        if error is not None and macs is not None:
            found.append(Disc(axis.place(error), radius_of(float(macs)), family.labels.get(network, ""), hollow))
    return sorted(found)


def ideas(family: Family) -> dict[str, list[str]]:
    """From which families it took each of its ideas."""
    found: dict[str, list[str]] = {}
    for arrow in family.descends:
        found.setdefault(arrow["idea"], []).append(arrow["from"])
    return found


def rows() -> Iterator[tuple[Family, float, float]]:
    """The families in order of publication; where the row of each begins, and its height."""
    top = TOP
    for family in sorted(families(), key=published):
        height = LINE * (1 + len(ideas(family))) + SPACE
        yield family, top, height
        top += height


def draw() -> Page:
    places, of = list(rows()), {family.family: family for family in families()}
    middles = {family.family: top + height / 2 for family, top, height in places}
    bottom = places[-1][1] + places[-1][2]
    page = Page("The lineage of convolutional networks, 1998 to 2019", bottom + 76)
    page.write(page.title, 24, 46, size=TITLE, bold=True)
    page.write("a network, and what it took from which", WORDS, TOP - 36, size=TEXT, ink=SOFT)
    paint_years(page, places)
    for axis in AXES:
        paint_axis(page, axis, bottom)
    order = list(middles)
    for name in order:
        for arrow in of[name].descends:
            steps = order.index(name) - order.index(arrow["from"])
            paint_arrow(page, middles[arrow["from"]], middles[name], steps, of[arrow["from"]].hue)
    for family, top, _ in places:
        paint_row(page, family, top + SPACE / 2, middles[family.family], of)
    paint_key(page, bottom + 40)
    return page


def paint_years(page: Page, places: Sequence[tuple[Family, float, float]]) -> None:
    """Each year once, above its rows a line."""
    year = 0
    for family, top, _ in places:
        if published(family)[0] != year:
            year = published(family)[0]
            page.path(f"M24 {top:.1f} H{END:.1f}", "#c4c4c4", 1)
            page.write(str(year), 24, top + SPACE / 2 + 20, size=NAME)


def paint_axis(page: Page, axis: Axis, bottom: float) -> None:
    page.write(axis.title, axis.left - 10, TOP - 36, size=TEXT, ink=SOFT)
    for error in axis.errors:
        x = axis.place(error)
        page.path(f"M{x:.1f} {TOP:.1f} V{bottom:.1f}", "#e4e4e4", 1)
        page.write(f"{error:g}", x, TOP - 10, "middle", SMALL, ink=SOFT)


def paint_arrow(page: Page, start: float, end: float, steps: int, hue: str) -> None:
    """From height to height, the further left the more rows it passes."""
    x, out = STEM - 5, STEM - 26 - 8.5 * steps
    page.path(f"M{x:.1f} {start + 4:.1f} C{out:.1f} {start + 8:.1f} {out:.1f} {end:.1f} {x:.1f} {end:.1f}", hue, 1.8)
    page.path(f"M{x - 9:.1f} {end - 5:.1f} L{x:.1f} {end:.1f} L{x - 9:.1f} {end + 5:.1f}", hue, 1.8)


def paint_row(page: Page, family: Family, top: float, middle: float, of: dict[str, Family]) -> None:
    page.circle(STEM, middle, 5, family.hue, family.hue)
    page.write(family.short or family.title, WORDS, top + 19, size=NAME, ink=family.hue, bold=True)
    for number, (idea, sources) in enumerate(ideas(family).items(), start=1):
        names = ", ".join(of[source].short or of[source].title for source in sources)
        page.write(f"{idea} ({names})", WORDS, top + 18 + number * LINE, size=TEXT, ink=of[sources[0]].hue)
    for found in (discs(family, axis) for axis in AXES):
        for disc in sorted(found, key=lambda disc: -disc.radius):
            page.circle(disc.x, middle, disc.radius, family.hue, family.hue, 1, fill_opacity="0.3")
        for disc in found:
            page.circle(disc.x, middle, DOT, "#ffffff" if disc.hollow else family.hue, family.hue, 1.5)
        if found:
            write_label(page, found[-1], 1, middle, family.hue)
        if len(found) > 1:
            write_label(page, found[0], -1, middle, family.hue)
    if error := error_of(family.entries[0].network, "mnist_error"):
        page.write(f"MNIST: {error:g} %", AXES[1].left - 10, middle + 6, size=SMALL, ink=family.hue, halo=True)


def write_label(page: Page, disc: Disc, side: int, middle: float, hue: str) -> None:
    """Write it right (1) or left (-1) of the disc."""
    x, anchor = disc.x + side * (max(disc.radius, DOT) + 5), "start" if side > 0 else "end"
    page.write(disc.label, x, middle + 6, anchor, SMALL, ink=hue, halo=True)


def paint_key(page: Page, y: float) -> None:
    page.write("area: multiply-adds", 24, y + 7, size=TEXT, ink=SOFT)
    x = 24 + width_of("area: multiply-adds", TEXT) + 34
    for text, millions in (("0.5 G", 500.0), ("5 G", 5000.0), ("25 G", 25000.0)):
        page.circle(x, y, radius_of(millions), "#888888", "#888888", 1, fill_opacity="0.3")
        page.write(text, x + radius_of(millions) + 6, y + 7, size=TEXT, ink=SOFT)
        x += radius_of(millions) + width_of(text, TEXT) + 44
    page.write("ring: the paper prints top-5 alone, which places it", x, y + 7, size=TEXT, ink=SOFT)


if __name__ == "__main__":
    text = draw().svg()
    FILES[0].write_text(text)
    FILES[1].write_bytes(png(text))
