"""A run's page, report.html: one file that opens without a request, each section of which answers a question."""

import base64
import io
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
from markupsafe import Markup
from numpy import ndarray
from PIL import Image

from lineage.analysis import charts, measures
from lineage.analysis.contact_sheet import Pair
from lineage.analysis.pages.rendering import render
from lineage.analysis.pages.run_files import RunFiles
from lineage.analysis.record import Record

FEW = 40  # classes, up to which the page has a matrix of all pairs
PAIRS, WRONG, MAPS, PLACED = 30, 24, 12, 2000  # most pairs, wrong images, those with cam, images on the map of classes
SIDE = 160  # pixels of a photograph
CURVES = {"validation": "val_{}", "training": "train_{}", "validation, weights not averaged": "val_raw_{}"}


@dataclass
class Extras:
    """What a run's folder alone does not tell.

    Attributes:
        config: of the run.
        expected: what the recipe's authors reached.
        image: the test image of an index, (H, W, C) uint8, as an evaluation has it; None: the data are gone.
        cams: images of what in an image of an index speaks for each of some classes, (H, W, 3) uint8.
        counts: images by class of each split.
        pairs: images as an evaluation and as training has them.
        anatomy, drawing: the network's table (lineage/anatomy/table.py) and drawing, as SVG.
        missing: why something of these is absent, for the reader.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    expected: str = ""
    image: Callable[[int], ndarray] | None = None
    cams: Callable[[int, list[int]], Sequence[ndarray]] | None = None
    counts: dict[str, list[int]] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()
    anatomy: Any = None
    drawing: str = ""
    missing: list[str] = field(default_factory=list)


def run_page(files: RunFiles, extras: Extras) -> str:
    """The text of the page. Raises UserError: a file of the run is damaged."""
    record = files.records[0] if files.records else None
    evaluated = {} if record is None else {**_confusions(record, extras), **_places(record)}
    overrides = files.results["overrides"]
    return render(
        "run.html", title=files.name, files=files, results=files.results, record=record, extras=extras, charts=charts,
        start=min((record.interval()[0] for record in files.records), default=0) // 0.05 * 0.05,
        course=_course(files, extras.config),
        best=max(files.epochs, key=lambda row: row.get("val_top1", -1), default=None),
        seen=[(picture(pair.evaluation), picture(pair.training), pair.label) for pair in extras.pairs],
        drawing=extras.drawing and _address("svg+xml", extras.drawing.encode()),
        overrides=[word.partition("=") for word in overrides if word.split("=")[0] not in ("run", "runs")],
        command=shlex.join(["python", "train.py", *overrides]), **evaluated,
    )  # fmt: skip


def picture(pixels: ndarray) -> Markup:
    """The address of an image (H, W, C) within the page, of at most SIDE pixels."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3])
    kind, content = "png" if max(image.size) <= 64 else "jpeg", io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(content, kind, optimize=True, quality=80)
    return _address(kind, content.getvalue())


def _address(kind: str, content: bytes) -> Markup:
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode()}")


def _course(files: RunFiles, config: Mapping[str, Any]) -> list[Markup]:
    """How the run learned: accuracy, loss, and learning rate with resolution."""
    found = []
    for metric, title in (("top1", "top-1 accuracy"), ("loss", "loss")):
        series = {name: curve for name, key in CURVES.items() if (curve := files.curve(key.format(metric)))}
        if series:
            ends = ", ".join(f"{name} {list(curve.values())[-1][0]:.4f}" for name, curve in series.items())
            figure = charts.curves(series, title, stops=files.stops, best=metric == "top1")
            found.append(charts.inline(figure, f"{title} by epoch; at the end: {ends}"))
    if rates := {row["epoch"]: row["lr"] for row in files.epochs}:
        sizes, epochs = (config.get("recipe") or {}).get("progressive_res") or [], max(rates)
        sides = {epoch: sizes[int((epoch - 1) * len(sizes) / epochs)] for epoch in rates} if sizes else {}
        figure = charts.rate_and_resolution(rates, sides, files.stops)
        found.append(charts.inline(figure, f"learning rate by epoch, from {max(rates.values()):g}"))
    return found


def _confusions(record: Record, extras: Extras) -> dict[str, Any]:
    """Classes, the matrix, the pairs most confused and the images most confidently wrong."""
    names, label, predicted = record.classes, record.label, record.predicted
    pairs, shown = measures.confused_pairs(label, predicted), []
    counts = measures.confusion(label, predicted, len(names)) if len(names) <= FEW else None
    for true, other, count in pairs[: PAIRS if counts is None else 10]:
        row = int(numpy.argmax(numpy.where((label == true) & (predicted == other), record.confidence, -1)))
        shown.append((true, other, count, row))
    wrong = record.most_confidently_wrong(WRONG)
    index, cams = record.columns["index"], dict[int, list[Markup]]()
    for row in wrong[:MAPS]:
        if extras.cams:
            classes = [int(predicted[row]), int(label[row])]
            cams[row] = [picture(pixels) for pixels in extras.cams(int(index[row]), classes)]
    rows = sorted({*wrong, *(row for *_, row in shown)})
    return {
        "names": names, "by_class": record.per_class, "counts": counts, "pairs": shown, "wrong": wrong, "cams": cams,
        "order": [] if counts is None else measures.leaf_order(counts),
        "first": {true: other for true, other, _ in reversed(pairs)},
        "pictures": {row: picture(extras.image(int(index[row]))) for row in rows} if extras.image else {},
    }  # fmt: skip


def _places(record: Record) -> dict[str, Any]:
    """The map of classes: t-SNE of the logits of images that are spread evenly over the record."""
    rows = numpy.unique(numpy.linspace(0, len(record) - 1, PLACED).astype(int))
    logits, label = record.log_probabilities(rows), record.label[rows]
    if len(rows) < 30 or not numpy.ptp(logits, axis=0).any():  # too few, or all equal
        return {"map": None}
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # for the same places each time
        tsne = TSNE(perplexity=min(30, len(rows) / 4), angle=0.7, max_iter=500, random_state=0)
        places = tsne.fit_transform(logits)
    figure = charts.neighbourhood(places, label, record.classes, [i for i in record.worst_classes if i in label])
    text = "images by the similarity of their logits; classes of low recall in colour"
    return {"map": charts.inline(figure, text), "placed": len(rows)}
