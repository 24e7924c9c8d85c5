"""The record of an evaluation: a folder below RUN/evaluations/ of two files.

evaluation.json has the metrics and what they were computed with; predictions.npz has a row for each image, in the order
of the data: see COLUMNS. Neither has a time, so the same evaluation writes the same bytes.
"""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from numpy import ndarray

from lineage.analysis import measures
from lineage.errors import UserError
from lineage.files import cannot_write, read_json, reason, write_whole
from lineage.text import visible

TOP = 20  # classes of each image that are kept, or all if there are fewer
LOGITS_LIMIT = 64 * 2**20  # bytes of all logits, up to which they are kept
FILE_LIMIT = 2**31  # bytes of predictions.npz that are read
METRICS, PREDICTIONS = "evaluation.json", "predictions.npz"
# The arrays of predictions.npz: the kind of their dtype and the number of their axes.
COLUMNS = {
    "index": ("i", 1),  # of the image in its split
    "path": ("S", 1),  # UTF-8, below the data's folder; empty if the image is no file of its own
    "label": ("i", 1),
    "loss": ("f", 1),  # as the recipe evaluates
    "brier": ("f", 1),  # sum over classes of (probability - target)^2
    "log_sum_exp": ("f", 1),  # of all logits, float64
    "true_logit": ("f", 1),  # float64
    "top_class": ("i", 2),  # (n, min(K, TOP)), the most probable first
    "top_probability": ("f", 2),
    "logits": ("f", 2),  # (n, K) float16; absent beyond LOGITS_LIMIT
}


def keeps_logits(images: int, classes: int) -> bool:
    return 2 * images * classes <= LOGITS_LIMIT


@dataclass(frozen=True)
class Record:
    """An evaluation.

    Attributes:
        split: of the data; the metrics' names begin with it.
        weights: last, best, or where they come from.
        metrics: as the evaluation computed them: {"test_top1": 0.97, ...}.
        classes: their names.
        columns: arrays with a row for each image, by the names of COLUMNS.
        facts: fingerprint of the data, preprocessing, checksum of the weights, versions: plain values.
        differs: in what the evaluation differs from the run's own, for the folder's name.
    """

    split: str
    weights: str
    metrics: Mapping[str, float]
    classes: Sequence[str]
    columns: Mapping[str, ndarray]
    facts: Mapping[str, Any] = field(default_factory=dict)
    differs: str = ""

    @property
    def name(self) -> str:
        """Of its folder: <split>-<weights>[-<what differs>], safe in a shell."""
        plain = "-".join(filter(None, (self.split, self.weights, self.differs)))
        name = re.sub(r"[^A-Za-z0-9._=+,-]+", "-", plain)[:140]
        digest = hashlib.blake2b(plain.encode(errors="surrogatepass"), digest_size=4).hexdigest()
        return name if name == plain else f"{name}-{digest}"

    def __len__(self) -> int:
        return len(self.label)

    @property
    def label(self) -> ndarray:
        return self.columns["label"]

    @property
    def predicted(self) -> ndarray:
        """(n,) the most probable class."""
        return self.columns["top_class"][:, 0]

    @property
    def confidence(self) -> ndarray:
        """(n,) its probability."""
        return self.columns["top_probability"][:, 0].astype(numpy.float64)

    @property
    def correct(self) -> ndarray:
        return self.label == self.predicted

    def interval(self, top: int = 1) -> tuple[float, float]:
        """The 95 % interval of the accuracy within the `top` most probable classes."""
        hits = (self.columns["top_class"][:, :top] == self.label[:, None]).any(axis=1)
        return measures.wilson(int(hits.sum()), len(self))

    @property
    def nll(self) -> float:
        return float(numpy.mean(self.columns["log_sum_exp"] - self.columns["true_logit"]))

    @property
    def brier(self) -> float:
        return float(self.columns["brier"].mean(dtype=numpy.float64))

    @property
    def calibration(self) -> measures.Calibration:
        return measures.calibration(self.confidence, self.correct)

    @property
    def rescaled_calibration(self) -> measures.Calibration:
        """After temperature scaling, either half of the images at the temperature of the other one."""
        return measures.calibration(self.softmax.rescaled_confidence(), self.correct)

    @property
    def per_class(self) -> measures.PerClass:
        return measures.per_class(self.label, self.predicted, len(self.classes))

    @property
    def worst_classes(self) -> list[int]:
        """Those that have images, by recall."""
        images, _, recall, _ = self.per_class
        return [i for i in numpy.argsort(recall, kind="stable").tolist() if images[i]]

    @property
    def softmax(self) -> measures.Softmax:
        """The logits, less a number for each image, which changes no softmax."""
        tiny, top = numpy.finfo(numpy.float32).tiny, self.columns["top_probability"].astype(numpy.float64)
        others = len(self.classes) - top.shape[1]
        rest = (1 - numpy.nansum(top, axis=1, keepdims=True)) / max(others, 1)
        logits = numpy.log(numpy.maximum(numpy.nan_to_num(numpy.hstack((top, rest))), tiny))
        counts = numpy.array([1] * top.shape[1] + [others])
        return measures.Softmax(logits, counts, self.columns["true_logit"] - self.columns["log_sum_exp"])

    def log_probabilities(self, rows: ndarray) -> ndarray:
        """(n, K) float32 of some images; classes beyond the kept ones share the remaining probability equally."""
        logits = self.softmax.logits[rows]
        found = numpy.repeat(logits[:, -1:], len(self.classes), axis=1)
        numpy.put_along_axis(found, self.columns["top_class"][rows].astype(numpy.int64), logits[:, :-1], axis=1)
        return found.astype(numpy.float32)

    def path(self, row: int) -> str:
        """Of an image below the data's folder, or its number if it is no file of its own."""
        name = self.columns["path"][row].decode("utf-8", "surrogateescape")
        return name or f"number {self.columns['index'][row]}"

    def most_confidently_wrong(self, count: int) -> list[int]:
        """Rows of the wrong predictions, the most probable first."""
        wrong = numpy.flatnonzero(~self.correct)
        return wrong[numpy.argsort(-self.confidence[wrong], kind="stable")][:count].tolist()

    def values(self) -> dict[str, Any]:
        """The content of evaluation.json."""
        classes = zip(self.classes, *(part.tolist() for part in self.per_class), strict=True)
        tops = [top for top in (1, 5) if f"{self.split}_top{top}" in self.metrics]
        return {
            "split": self.split,
            "weights": self.weights,
            "differs": self.differs,
            "images": len(self),
            "metrics": dict(self.metrics),
            "intervals": {f"{self.split}_top{top}": list(self.interval(top)) for top in tops},
            "nll": self.nll,
            "ece": self.calibration.ece,
            "brier": self.brier,
            "facts": dict(self.facts),
            "classes": [dict(zip(("name", *measures.PerClass._fields), row, strict=True)) for row in classes],
        }

    def write_below(self, run: Path) -> None:
        """Write it into a run's directory. Raises UserError: it cannot be written."""
        self.write(run / "evaluations" / self.name)

    def write(self, folder: Path) -> None:
        """Write both files, each whole. Raises UserError: they cannot be written."""
        content = io.BytesIO()
        columns: dict[str, Any] = {name: self.columns[name] for name in COLUMNS if name in self.columns}
        numpy.savez(content, **columns)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(cannot_write(folder, error)) from error
        write_whole(folder / PREDICTIONS, content.getvalue())
        write_whole(folder / METRICS, json.dumps(self.values(), indent=1) + "\n")

    @classmethod
    def read_all(cls, run: Path) -> "list[Record]":
        """A run's records. Raises UserError: one is damaged."""
        return [cls.read(path.parent) for path in sorted(run.glob(f"evaluations/*/{METRICS}"))]

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Raises UserError: there is no record, or it is damaged."""
        try:
            values = read_json(folder / METRICS)
            classes = [str(entry["name"]) for entry in values["classes"]]
            columns = _read_columns(folder / PREDICTIONS, len(classes))
            metrics = {str(name): float(value) for name, value in values["metrics"].items()}
            split, weights, differs = (str(values[key]) for key in ("split", "weights", "differs"))
            return cls(split, weights, metrics, classes, columns, dict(values["facts"]), differs)
        except FileNotFoundError as error:
            raise UserError(f"{folder} holds no evaluation: evaluate.py run=NAME writes one.") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, MemoryError, zipfile.BadZipFile) as error:
            raise UserError(f"{folder} is damaged ({reason(error)}): evaluate.py writes it again.") from error


def _read_columns(path: Path, classes: int) -> dict[str, ndarray]:
    """The arrays of a file that may come from elsewhere. Raises ValueError, OSError and what damaged archives raise."""
    with zipfile.ZipFile(path) as archive:  # uncompressed, so that it is not larger in memory than on disk
        entries = archive.infolist()
    if any(entry.compress_type for entry in entries) or sum(entry.file_size for entry in entries) > FILE_LIMIT:
        raise ValueError(f"{path.name} is compressed or has more than {FILE_LIMIT:,} bytes")
    with numpy.load(path, allow_pickle=False) as file:
        columns = {name: file[name] for name in COLUMNS if name in file or name != "logits"}
    images = len(columns["label"])
    for name, array in columns.items():
        kind, axes = COLUMNS[name]
        if array.dtype.kind != kind or array.ndim != axes or len(array) != images or array.shape[-1] == 0:
            raise ValueError(f"{name} in {path.name} is {array.dtype} of shape {array.shape}")
        if name in ("label", "top_class") and not (array.min() >= 0 and array.max() < classes):
            raise ValueError(f"{name} in {path.name} names classes beyond {classes}")
    return columns


def summary(record: Record, most: int = 5) -> dict[str, str]:
    """What an evaluation found, as rows of a table: interval, at most `most` worst and best classes, the pairs most
    confused, ECE."""
    names, (low, high), by_class = list(map(visible, record.classes)), record.interval(), record.per_class
    order = record.worst_classes
    count = max(min(most, len(order) // 2), 1)
    pairs = measures.confused_pairs(record.label, record.predicted)[:5]

    def listed(classes: Sequence[int]) -> str:
        return ", ".join(f"{names[i]} {by_class.recall[i]:.3f} of {by_class.images[i]:,}" for i in classes)

    found = {
        f"{record.split} top-1": f"{record.correct.mean():.4f} of {len(record):,} images, 95 % interval {low:.4f} to "
        f"{high:.4f}",
        "worst classes": listed(order[:count]),
        "best classes": listed(sorted(order, key=lambda i: -by_class.recall[i])[:count]),
        "confused": ", ".join(f"{names[true]} taken for {names[other]} ({count:,})" for true, other, count in pairs),
        "calibration": f"ECE {record.calibration.ece:.4f}, mean probability {record.confidence.mean():.4f}",
    }
    return {name: text for name, text in found.items() if text}
