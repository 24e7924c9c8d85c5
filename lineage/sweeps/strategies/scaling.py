"""The grid search of EfficientNet's compound scaling: the networks that cost about twice the one that is scaled.

Tan, Le 2019, arXiv 1905.11946, section 3.3: at phi=1, all alpha, beta and gamma with alpha * beta^2 * gamma^2 near 2.
That is the nominal growth of the multiply-adds. The real one differs, since layers, channels and pixels are whole
numbers: of B0 (1.2, 1.1, 1.15) is nominally 1.92 and really 2.57. So many of the grid's networks are equal, too.
"""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from lineage.errors import UserError
from lineage.files import write_csv
from lineage.reporting.screen import console, show_table
from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Outcome, Point

Positive = Annotated[float, "x > 0"]
KEYS = ("arch.alpha", "arch.beta", "arch.gamma", "arch.phi")


class Scaling:
    """Asks for each network once, in the grid's order; of equal ones that whose nominal growth is nearest to target.

    Args:
        space: alpha, beta and gamma, and what else the command leaves open, such as seeds.
        cost: the parameters and multiply-adds of the network of a job, by the job's words.
        target: growth of the multiply-adds.
        hold: which growth is near to it: less than `tolerance` away if nominal; if macs, at most that share of it. It
            is counted for networks with a nominal growth of half the target to 1.2 times.

    Attributes:
        trials: how many points it asks for.
        table: by column, the row of each network; `equal` has the other triples of the grid that make it.

    Raises:
        UserError: there is no such network, or the images do not grow with gamma.
    """

    def __init__(
        self, space: Space, cost: Callable[[Sequence[str]], tuple[int, int]], target: Positive, tolerance: Positive,
        hold: Literal["nominal", "macs"],
    ) -> None:  # fmt: skip
        self.space, self.cost = space, cost
        low, high = (target - tolerance, target + tolerance) if hold == "nominal" else (target / 2, target * 1.2)
        groups: dict[tuple[object, ...], list[tuple[float, Point, dict[str, Any]]]] = {}
        for values in itertools.product(*space.options):
            point, scales = self._point(values)
            *_, nominal = scales.values()
            others = tuple(word for word in point if word.partition("=")[0] not in KEYS)
            if low < nominal < high:
                parameters, macs = cost((*space.fixed, *point))
                real = macs / self._unscaled(others)
                if hold == "nominal" or abs(real - target) <= tolerance * target:
                    row: dict[str, Any] = {**scales, "real": real, "parameters": parameters, "macs": macs}
                    groups.setdefault((others, parameters, macs), []).append((abs(nominal - target), point, row))
        if not groups:
            raise UserError(f"hydra.sweeper.tolerance={tolerance:g}: no network is that near to {target:g}.")
        self.queue, self.table = [], list[dict[str, Any]]()
        for equal in groups.values():
            _, point, row = first = min(equal, key=lambda one: one[0])
            row["equal"] = " ".join(
                "{alpha:g},{beta:g},{gamma:g}".format(**other[2]) for other in equal if other is not first
            )
            self.queue.append(point)
            self.table += [row] if row not in self.table else []  # once for all seeds
        self.trials = len(self.queue)

    def _point(self, values: Sequence[str]) -> tuple[Point, dict[str, float]]:
        """The words, and alpha, beta, gamma and the nominal growth. Raises UserError: a key has no value."""
        names = [dimension.name for dimension in self.space.dimensions]
        pairs = zip(names, values, strict=True)
        point = self.space.point([f"{float(v):g}" if name in KEYS else v for name, v in pairs])  # 1.4, not 1.400..1
        given = dict(word.lstrip("+").split("=", 1) for word in (*self.space.fixed, *point))
        if missing := set(KEYS) - given.keys():
            raise UserError(f"{min(missing)}: this search needs values, as conf/hydra/sweeper/scaling.yaml has them.")
        alpha, beta, gamma, phi = (float(given[key]) for key in KEYS)
        return point, {"alpha": alpha, "beta": beta, "gamma": gamma, "nominal": (alpha * beta**2 * gamma**2) ** phi}

    def _unscaled(self, others: Point) -> int:
        """The multiply-adds of the network that is scaled. Raises UserError: its images do not grow with gamma."""
        words = (*self.space.fixed, *others, "arch.alpha=1", "arch.beta=1", "arch.phi=1")
        _, macs = self.cost((*words, "arch.gamma=1"))
        opened = any(dimension.name == "arch.gamma" for dimension in self.space.dimensions)
        if opened and macs == self.cost((*words, "arch.gamma=2"))[1]:
            raise UserError(
                "arch.gamma: images do not grow with it: datamodule.resolution or recipe.test_res is a number."
                "\nLeave it to the network (datamodule=cifar10, recipe=efficientnet), or say arch.gamma=1."
            )
        return macs

    def ask(self, n: int) -> list[Point]:
        asked, self.queue = self.queue[:n], self.queue[n:]
        return asked

    def tell(self, point: Point, outcome: Outcome) -> None:
        """Nothing to learn: the answer is the best job."""

    def show(self, sweep: Path) -> None:
        """Print the networks, and write them into the sweep's folder: networks.csv."""
        rows = [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in self.table]
        show_table(console(), list(self.table[0]), rows)
        write_csv(sweep / "networks.csv", list(self.table[0]), self.table)
