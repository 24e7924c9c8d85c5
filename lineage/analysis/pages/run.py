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
        cam: an image of what the network saw, (H, W, 3) uint8, of an index and a class.
        counts: images by class of each split.
        pairs: images as an evaluation and as training has them.
        anatomy, drawing: the network's table (lineage/anatomy/table.py) and drawing, as SVG.
        missing: why something of these is absent, for the reader.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    expected: str = ""
    image: Callable[[int], ndarray] | None = None
    cam: Callable[[int, int], ndarray] | None = None
    counts: Mapping[str, Sequence[int]] = field(default_factory=dict)
    pairs: Sequence[Pair] = ()
    anatomy: Any = None
    drawing: str = ""
    missing: list[str] = field(default_factory=list)


def run_page(files: RunFiles, extras: Extras) -> str:
    """The text of the page. Raises UserError: a file of the run is damaged."""
    record = files.records[0] if files.records else None
    evaluated = {} if record is None else {**_confusions(record, extras), **_believed(record), **_places(record)}
    overrides = [word for word in files.results["overrides"] if word.split("=")[0] not in ("run", "runs")]
    return render(
        "run.html",
        title=files.name,
        files=files,
        results=files.results,
        record=record,
        extras=extras,
        start=min((record.interval()[0] for record in files.records), default=0) // 0.05 * 0.05,
        course=_course(files, extras.config),
        best=max(files.epochs, key=lambda row: row.get("val_top1", -1), default=None),
        seen=[_seen(pair) for pair in extras.pairs],
        drawing=extras.drawing and Markup("data:image/svg+xml;base64,") + _base64(extras.drawing.encode()),
        overrides=[word.partition("=") for word in overrides],
        command=shlex.join(["python", "train.py", *files.results["overrides"]]),
        **evaluated,
    )


def picture(pixels: ndarray, side: int = 0) -> Markup:
    """The address of an image (H, W, C) within the page; it is reduced to `side` pixels, unless that is 0."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3])
    small, content = max(image.size) <= 64, io.BytesIO()
    if side:
        image.thumbnail((side, side))
    image.save(content, "PNG" if small else "JPEG", optimize=True, quality=80)
    return Markup(f"data:image/{'png' if small else 'jpeg'};base64,") + _base64(content.getvalue())


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _course(files: RunFiles, config: Mapping[str, Any]) -> list[Markup]:
    """How the run learned: accuracy, loss, and learning rate with resolution."""
    found = []
    for metric, title in (("top1", "top-1 accuracy"), ("loss", "loss")):
        series = {name: curve for name, key in CURVES.items() if (curve := files.curve(key.format(metric)))}
        if series:
            ends = ", ".join(f"{name} {list(curve.values())[-1][0]:.4f}" for name, curve in series.items())
            figure = charts.curves(series, title, stops=files.stops, best=metric == "top1")
            found.append(charts.inline(figure, f"{title} by epoch; at the end: {ends}"))
    rates = {epoch: values[0] for epoch, values in files.curve("lr").items()}
    if rates:
        sizes, epochs = (config.get("recipe") or {}).get("progressive_res") or [], max(rates)
        sides = {epoch: sizes[int((epoch - 1) * len(sizes) / epochs)] for epoch in rates} if sizes else {}
        figure = charts.rate_and_resolution(rates, sides, files.stops)
        found.append(charts.inline(figure, f"learning rate by epoch, from {max(rates.values()):g}"))
    return found


def _seen(pair: Pair) -> tuple[Markup, Markup, str]:
    label = " + ".join(f"{name} {share:.2f}" if share < 1 else name for name, share in pair.label)
    return picture(pair.evaluation, SIDE), picture(pair.training, SIDE), label


def _confusions(record: Record, extras: Extras) -> dict[str, Any]:
    """Classes, the matrix, the pairs most confused and the images most confidently wrong."""
    names, by_class, label, predicted = record.classes, record.per_class, record.label, record.predicted
    pairs, first = measures.confused_pairs(label, predicted), dict[int, int]()
    for true, other, _ in pairs:
        first.setdefault(true, other)
    matrix, order = [], list[int]()
    if len(names) <= FEW:
        counts = measures.confusion(label, predicted, len(names))
        order = measures.leaf_order(counts)
        matrix = [(true, [(other, int(counts[true, other])) for other in order]) for true in order]
    rows = numpy.argsort(by_class.recall, kind="stable").tolist()
    shown = []
    for true, other, count in pairs[: PAIRS if len(names) > FEW else 10]:
        row = int(numpy.argmax(numpy.where((label == true) & (predicted == other), record.confidence, -1)))
        shown.append((true, other, count, _picture_of(record, row, extras)))
    return {
        "names": names,
        "by_class": by_class,
        "class_rows": [(i, first.get(i)) for i in rows if by_class.images[i]],
        "pairs": shown,
        "matrix": matrix,
        "order": order,
        "wrong": [_wrong(record, row, extras, i < MAPS) for i, row in enumerate(record.most_confidently_wrong(WRONG))],
    }


def _picture_of(record: Record, row: int, extras: Extras) -> Markup | None:
    return picture(extras.image(int(record.columns["index"][row])), SIDE) if extras.image else None


def _wrong(record: Record, row: int, extras: Extras, cam: bool) -> dict[str, Any]:
    """An image that the network got wrong: what it is and the three most probable answers."""
    index, true, answer = (int(values[row]) for values in (record.columns["index"], record.label, record.predicted))
    top, shares = record.columns["top_class"][row, :3].tolist(), record.columns["top_probability"][row, :3].tolist()
    cams: list[tuple[Markup, str]] = []
    if extras.cam and cam:
        cams = [(picture(extras.cam(index, one), SIDE), record.classes[one]) for one in (answer, true)]
    path = record.columns["path"][row].decode("utf-8", "surrogateescape") or f"number {index}"
    found = {
        "path": path,
        "true": record.classes[true],
        "answers": [(record.classes[i], p) for i, p in zip(top, shares, strict=True)],
    }
    return {**found, "picture": _picture_of(record, row, extras), "cams": cams}


def _believed(record: Record) -> dict[str, Any]:
    """Calibration before and after temperature scaling."""
    before, softmax = record.calibration, record.softmax
    after = measures.calibration(softmax.rescaled_confidence(), record.correct)
    text = f"share of right answers by probability; the expected calibration error is {before.ece:.4f}"
    return {
        "before": before,
        "after": after,
        "temperature": softmax.best_temperature(),
        "reliability": charts.inline(charts.reliability(before, after), text),
    }


def _places(record: Record) -> dict[str, Any]:
    """The map of classes: t-SNE of the logits of images that are spread evenly over the record."""
    rows = numpy.unique(numpy.linspace(0, len(record) - 1, PLACED).astype(int))
    logits = record.log_probabilities(rows)
    if len(rows) < 30 or not numpy.ptp(logits, axis=0).any():  # too few, or all equal
        return {"map": None}
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # for the same places each time
        tsne = TSNE(perplexity=min(30, len(rows) / 4), angle=0.7, max_iter=500, random_state=0)
        places = tsne.fit_transform(logits)
    recall = record.per_class.recall
    marked = sorted(set(record.label[rows].tolist()), key=lambda one: recall[one])
    figure = charts.neighbourhood(places, record.label[rows], record.classes, marked)
    return {
        "map": charts.inline(figure, "images by the similarity of their logits; classes of low recall in colour"),
        "placed": len(rows),
    }
