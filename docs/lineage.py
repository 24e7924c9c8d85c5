"""Draw docs/lineage.svg and .png: every network on one timeline, with arrows for the ideas that it took. make docs

Errors, years and ideas are the papers' (archs/papers.csv, docs/papers.yaml); operations are counted here.
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from docs.papers import ROOT, Family, counted, families
from lineage.analysis.papers import numbers, printed
from lineage.anatomy.drawing.page import INK, SOFT, WIDTH, Box, Page, Point, overlap, png, width_of

FILES = (ROOT / "docs" / "lineage.svg", ROOT / "docs" / "lineage.png")
HEIGHT, LEFT, RIGHT = 1100.0, 84.0, 1262.0
IMAGENET, SMALL = (96.0, 816.0), (890.0, 1002.0)  # top and bottom of either band
RANGES = {"top1_error": (50.0, 15.2), "cifar10_error": (9.5, 2.5), "mnist_error": (9.5, 2.5)}
NAME, IDEA, TICK = 24.0, 16.0, 20.0  # font sizes
DOT = 3.2  # radius of the dot that marks a network


class Disc(NamedTuple):
    """A network; the disc's area is its multiply-adds. It is `hollow` if the paper prints only its top-5 error."""

    x: float
    y: float
    radius: float
    small: bool  # on CIFAR-10 or MNIST
    hollow: bool


def columns() -> dict[str, float]:
    """The middle of each family's column, in order of publication."""
    order = sorted(families(), key=published)
    step = (RIGHT - LEFT) / len(order)
    return {family.family: LEFT + (i + 0.5) * step for i, family in enumerate(order)}


def published(family: Family) -> tuple[int, int]:
    """Year and month: of an arXiv number, or the year alone."""
    found = re.search(r"arXiv (\d\d)(\d\d)\.", family.paper)
    return (2000 + int(found[1]), int(found[2])) if found else (family.year, 12)


def height(quantity: str, error: float) -> float:
    """The height of an error on a logarithmic axis, on which small errors are low."""
    first, last = RANGES[quantity]
    top, bottom = IMAGENET if quantity == "top1_error" else SMALL
    return top + (bottom - top) * math.log(first / error) / math.log(first / last)


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


def discs(family: Family, x: float) -> Iterator[Disc]:
    for entry in family.entries:
        millions = next((float(row["macs"]) for row in counted()[entry.network] if row["macs"]), None)
        if millions is None:
            continue
        errors = {quantity: error_of(entry.network, quantity) for quantity in (*RANGES, "top5_error")}
        for quantity in RANGES:
            if (error := errors[quantity]) is not None:
                y = height(quantity, 10 * error if quantity == "mnist_error" else error)
                yield Disc(x, y, radius_of(millions), small=quantity != "top1_error", hollow=False)
        if errors["top5_error"] is not None and errors["top1_error"] is None:
            y = height("top1_error", similar_top1(errors["top5_error"]))
            yield Disc(x, y, radius_of(millions), small=False, hollow=True)


def write_where_free(
    page: Page, text: str, spots: list[tuple[float, float, str]], taken: list[Box], size: float, hue: str, bold: bool
) -> None:
    """Write a text at the first spot, x, y and anchor, that is free, if there is one."""
    for x, y, anchor in spots:
        box = page.box_of(text, x, y, anchor, size)
        if box[0] > LEFT - 20 and box[2] < WIDTH - 4 and not any(overlap(box, other) for other in taken):
            taken.append(box)
            page.write(text, box[0], box[3] - 0.22 * size, size=size, ink=hue, bold=bold, halo=True)
            return


def draw() -> Page:
    page = Page("The lineage of convolutional networks, 1998 to 2019", HEIGHT)
    page.write(page.title, 24, 42, size=32, bold=True)
    place_of, hues = columns(), {family.family: family.hue for family in families()}
    paint_axes(page, place_of)
    members = {family.family: list(discs(family, place_of[family.family])) for family in families()}
    ends = {name: best(found) for name, found in members.items()}
    networks = [disc for found in members.values() for disc in found]
    taken = [(d.x - r, d.y - r, d.x + r, d.y + r) for d in networks for r in [max(0.7 * d.radius, DOT)]]
    arrows = [(ends[a["from"]], ends[f.family], a["idea"], a["from"]) for f in families() for a in f.descends]
    for start, end, _, name in arrows:
        paint_arrow(page, start, end, hues[name])
    for name, found in members.items():
        for disc in sorted(found, key=lambda disc: -disc.radius):
            hue = hues[name]
            page.circle(disc.x, disc.y, disc.radius, hue, hue, 1, fill_opacity="0.3")
        for disc in found:
            page.circle(disc.x, disc.y, DOT, "#ffffff" if disc.hollow else hue, hue, 1.5)
    for family in families():
        name = family.family
        write_name(page, family.short or family.title, members[name], ends[name], taken, family.hue)
    # An idea that a family took from several is written once.
    once = {(idea, end): (start, end, idea, name) for start, end, idea, name in arrows}
    for start, end, idea, name in sorted(once.values(), key=lambda arrow: -len(arrow[2])):
        write_idea(page, idea, start, end, taken, hues[name])
    return page


def best(found: list[Disc]) -> Disc:
    """The network at which arrows start and end: that of the smallest error, on ImageNet if there is one."""
    return max(found, key=lambda disc: (not disc.small, disc.y))


def paint_axes(page: Page, place_of: dict[str, float]) -> None:
    for quantity, errors, name in (
        ("top1_error", (50, 40, 30, 25, 20, 16), "ImageNet, top-1 error, %"),
        ("cifar10_error", (8, 4), "CIFAR-10, error, % (LeNet-5: MNIST, times ten)"),
    ):
        top = (IMAGENET if quantity == "top1_error" else SMALL)[0]
        page.write(name, LEFT + 46, top - 14, size=TICK, ink=SOFT)
        for error in errors:
            y = height(quantity, error)
            page.path(f"M{LEFT - 16:.1f} {y:.1f} H{RIGHT:.1f}", "#d9d9d9", 1)
            page.write(str(error), LEFT - 24, y + 7, "end", TICK, ink=SOFT)
    years: dict[int, list[float]] = {}
    for family in sorted(families(), key=published):
        years.setdefault(published(family)[0], []).append(place_of[family.family])
    half, y = (RIGHT - LEFT) / len(place_of) / 2, SMALL[1] + 26
    for year, middles in years.items():
        page.path(f"M{middles[0] - half + 4:.1f} {y - 18:.1f} H{middles[-1] + half - 4:.1f}", INK, 2)
        page.write(str(year), (middles[0] + middles[-1]) / 2, y + 4, "middle", TICK)
    y = HEIGHT - 30
    page.write("area: multiply-adds", 24, y + 7, size=TICK, ink=SOFT)
    x = 24 + width_of("area: multiply-adds", TICK) + 34
    for text, millions in (("0.5 G", 500.0), ("5 G", 5000.0), ("25 G", 25000.0)):
        page.circle(x, y, radius_of(millions), "#888888", "#888888", 1, fill_opacity="0.3")
        page.write(text, x + radius_of(millions) + 6, y + 7, size=TICK, ink=SOFT)
        x += radius_of(millions) + width_of(text, TICK) + 44
    page.write("ring: the paper prints top-5 alone, which places it", x, y + 7, size=TICK, ink=SOFT)


def bend(start: Disc, end: Disc) -> tuple[Point, Point, Point]:
    """A quadratic curve from disc to disc, bent a little so that long arrows do not cover each other."""
    dx, dy = end.x - start.x, end.y - start.y
    middle = ((start.x + end.x) / 2 + 0.12 * dy, (start.y + end.y) / 2 - 0.12 * dx)
    return leave(start, middle, DOT), middle, leave(end, middle, DOT + 3)


def leave(disc: Disc, target: Point, away: float) -> Point:
    """The point at a distance from a network, towards a target."""
    share = away / math.dist((disc.x, disc.y), target)
    return disc.x + (target[0] - disc.x) * share, disc.y + (target[1] - disc.y) * share


def on_curve(curve: tuple[Point, Point, Point], t: float) -> Point:
    a, b, c = (1 - t) ** 2, 2 * t * (1 - t), t * t
    (x0, y0), (x1, y1), (x2, y2) = curve
    return a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2


def paint_arrow(page: Page, start: Disc, end: Disc, hue: str) -> None:
    (x0, y0), (x1, y1), (x2, y2) = bend(start, end)
    page.path(f"M{x0:.1f} {y0:.1f} Q{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f}", hue, 1.8, opacity="0.55")
    angles = [math.atan2(y2 - y1, x2 - x1) + turn for turn in (-0.4, 0.4)]
    (xa, ya), (xb, yb) = [(x2 - 11 * math.cos(angle), y2 - 11 * math.sin(angle)) for angle in angles]
    page.path(f"M{xa:.1f} {ya:.1f} L{x2:.1f} {y2:.1f} L{xb:.1f} {yb:.1f}", hue, 1.8)


def write_name(page: Page, text: str, found: list[Disc], end: Disc, taken: list[Box], hue: str) -> None:
    rows = [disc for disc in found if not disc.small] or found
    top, bottom = min(rows, key=lambda disc: disc.y), max(rows, key=lambda disc: disc.y)
    spots: list[tuple[float, float, str]] = []
    for step in range(4):
        for anchor, shift in (("middle", 0.0), ("start", -14.0), ("end", 14.0)):
            spots.append((end.x + shift, bottom.y + bottom.radius + 22 + 12 * step, anchor))
            spots.append((end.x + shift, top.y - top.radius - 8 - 12 * step, anchor))
    for dx in (end.radius + 6, -end.radius - 6):
        spots += [(end.x + dx, end.y + dy, "start" if dx > 0 else "end") for dy in (8, -8, 24, -24, 40, -40)]
    write_where_free(page, text, spots, taken, NAME, hue, bold=True)


def write_idea(page: Page, text: str, start: Disc, end: Disc, taken: list[Box], hue: str) -> None:
    curve = bend(start, end)
    half = width_of(text, IDEA) / 2
    shifts = [(dx * half, dy) for dx in (0.0, -0.5, 0.5, -1.0, 1.0) for dy in range(-62, 63, 4)]
    shifts.sort(key=lambda shift: math.hypot(0.3 * shift[0], shift[1]))
    along = [on_curve(curve, t) for t in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)]
    spots = [(x + dx, y + 6 + dy, "middle") for dx, dy in shifts for x, y in along]
    write_where_free(page, text, spots, taken, IDEA, hue, bold=False)


if __name__ == "__main__":
    text = draw().svg()
    FILES[0].write_text(text)
    FILES[1].write_bytes(png(text))
