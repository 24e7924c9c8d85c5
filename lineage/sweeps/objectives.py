"""What a search tries to raise or to lower: numbers of results.json, and the reward of accuracy at a cost."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any

from lineage.errors import UserError
from lineage.text import nearest

ACCURACIES = ("val_top1", "val_top5", "best_val_top1", "train_top1")
NAMES = (
    *ACCURACIES, "val_loss", "best_val_loss", "train_loss", "parameters", "macs", "resolution", "epochs", "steps",
    "seconds", "images_per_second", "peak_memory_bytes",
)  # fmt: skip
EXPONENT = -0.07  # w of MnasNet (arXiv 1807.11626) and of EfficientNet (arXiv 1905.11946, section 4)


class Objectives:
    """The objectives of a search, those to maximise first.

    Args:
        maximise, minimise: names of numbers in results.json, one or a list; None: none.
        target_macs: T, which makes the reward of a maximised accuracy accuracy * (macs / T)^-0.07; None: no reward.

    Attributes:
        names: of the objectives.
        directions: "maximize" or "minimize", for each.
        failed: the values of a job that failed or diverged: 0 for what is maximised, infinity for what is minimised.

    Raises:
        UserError: there is no objective, no such number, or one of the test set; target_macs without one maximised
            accuracy, or not above 0.
    """

    def __init__(
        self, maximise: str | Sequence[str] | None, minimise: str | Sequence[str] | None, target_macs: float | None
    ) -> None:
        highest, lowest = _listed(maximise), _listed(minimise)
        self.names = (*highest, *lowest)
        self.directions = ["maximize"] * len(highest) + ["minimize"] * len(lowest)
        self.failed = (0.0,) * len(highest) + (math.inf,) * len(lowest)
        self.target_macs = target_macs
        if not self.names:
            raise UserError("hydra.sweeper.maximise=null: a search needs an objective, maximise=val_top1 for example.")
        for name in self.names:
            if name.startswith("test_"):
                raise UserError(f"{name}: the test set is not for choosing; take {name.replace('test', 'val')}.")
            if name not in NAMES:
                raise UserError(f"{name} is no number of results.json.{nearest(name, NAMES) or ' Take val_top1.'}")
        if target_macs is not None:
            key = f"hydra.sweeper.target_macs={target_macs:g}"
            if target_macs <= 0:
                raise UserError(f"{key}: it takes a number above 0, such as 4e8.")
            if len(set(self.names) & set(ACCURACIES)) != 1 or not set(highest) & set(ACCURACIES):
                raise UserError(f"{key}: it weights one accuracy, hydra.sweeper.maximise=val_top1 for example.")

    def values(self, results: Mapping[str, Any]) -> tuple[float, ...]:
        """The objectives of a job, from its results.json; what is missing or not finite counts as failed."""
        found = []
        for name, failed in zip(self.names, self.failed, strict=True):
            value = results.get(name, math.nan)
            if self.target_macs is not None and name in ACCURACIES:
                value *= (results["macs"] / self.target_macs) ** EXPONENT
            found.append(float(value) if math.isfinite(value) else failed)
        return tuple(found)

    def order(self, results: Mapping[str, Any]) -> list[float]:
        """What sorts the results of jobs, best first: by the first objective, then by the next."""
        signs = (-1 if direction == "maximize" else 1 for direction in self.directions)
        return [sign * value for sign, value in zip(signs, self.values(results), strict=True)]

    def front(self, jobs: Sequence[Mapping[str, Any]]) -> list[bool]:
        """For the results of each job, whether none is better in one objective and as good in the others: Pareto's."""
        orders = [self.order(results) for results in jobs]
        return [not any(o != own and all(map(operator.le, o, own)) for o in orders) for own in orders]


def _listed(names: str | Sequence[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else [str(name) for name in names or ()]
