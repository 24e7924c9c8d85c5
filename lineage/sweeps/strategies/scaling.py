"""The grid search of EfficientNet's compound scaling: the networks that cost about twice the one that is scaled.

Tan, Le 2019, arXiv 1905.11946, section 3.3: at phi=1, all alpha, beta and gamma with alpha * beta^2 * gamma^2 near 2.
That is the nominal growth of the multiply-adds. The real one differs, since layers, channels and pixels are whole
numbers: of B0 (1.2, 1.1, 1.15) is nominally 1.92 and really 2.57. So many of the grid's networks are equal, too.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from lineage.constraints import argument_checker
from lineage.errors import UserError
from lineage.files import write_csv
from lineage.reporting.screen import console, show_table
from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Outcome, Point

KEYS = ("arch.alpha", "arch.beta", "arch.gamma", "arch.phi")
Cost = Callable[[Sequence[str]], tuple[int, int]]


class Scaled(NamedTuple):
    """A network of the grid: the growth of its multiply-adds by the formula, and counted, and what it costs."""

    point: Point
    alpha: float
    beta: float
    gamma: float
    nominal: float
    real: float
    parameters: int
    macs: int


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

    @argument_checker(UserError, "hydra.sweeper.")
    def __init__(
        self,
        space: Space,
        cost: Cost,
        target: Annotated[float, "x > 0"],
        tolerance: Annotated[float, "x > 0"],
        hold: Literal["nominal", "macs"],
    ) -> None:
        low, high = (target - tolerance, target + tolerance) if hold == "nominal" else (target / 2, target * 1.2)
        groups: dict[tuple[object, ...], list[Scaled]] = {}
        for others, one in _networks(space, cost, low, high):
            if hold == "nominal" or abs(one.real - target) <= tolerance * target:
                groups.setdefault((others, one.parameters, one.macs), []).append(one)
        if not groups:
            raise UserError(
                f"hydra.sweeper.tolerance={tolerance:g}: no network of this grid is that near to {target:g}."
            )
        chosen = [min(equal, key=lambda one: abs(one.nominal - target)) for equal in groups.values()]
        self.queue, self.trials = [one.point for one in chosen], len(chosen)
        self.table: list[dict[str, Any]] = []
        for one, equal in zip(chosen, groups.values(), strict=True):
            row = one._asdict() | {"equal": " ".join(map(_triple, (other for other in equal if other is not one)))}
            del row["point"]
            self.table += [row] if row not in self.table else []  # once for all seeds

    def ask(self, n: int) -> list[Point]:
        asked, self.queue = self.queue[:n], self.queue[n:]
        return asked

    def tell(self, point: Point, outcome: Outcome) -> None:
        """Nothing to learn: the answer is the best job."""

    def show(self, sweep: Path) -> None:
        """Print the networks, and write them into the sweep's folder: networks.csv."""
        columns = list(self.table[0])
        rows = [[f"{v:,}" if isinstance(v, int) else f"{v:.4g}" for v in list(row.values())[:-1]] for row in self.table]
        screen = console()
        show_table(screen, columns, [[*row, one["equal"]] for row, one in zip(rows, self.table, strict=True)])
        write_csv(sweep / "networks.csv", columns, self.table)
        screen.print(f"{sweep}/networks.csv", soft_wrap=True)


def _triple(one: Scaled) -> str:
    return f"{one.alpha:g},{one.beta:g},{one.gamma:g}"


def _networks(space: Space, cost: Cost, low: float, high: float) -> Iterator[tuple[Point, Scaled]]:
    """The networks with a nominal growth between these two; before each, the words of its point that do not scale it.

    Raises:
        UserError: a key has no value, or the images do not grow with gamma.
    """
    names = [dimension.name for dimension in space.dimensions]
    for values in itertools.product(*space.options):
        tidy = [
            f"{float(v):g}" if name in KEYS else v for name, v in zip(names, values, strict=True)
        ]  # 1.4, not 1.400..1
        point = space.point(tidy)
        given = dict(word.lstrip("+").split("=", 1) for word in (*space.fixed, *point))
        if missing := set(KEYS) - given.keys():
            raise UserError(
                f"{min(missing)}: this search needs its values, as conf/hydra/sweeper/scaling.yaml has them."
            )
        alpha, beta, gamma, phi = (float(given[key]) for key in KEYS)
        nominal = (alpha * beta**2 * gamma**2) ** phi
        if low < nominal < high:
            others = tuple(word for word in point if word.partition("=")[0] not in KEYS)
            base = (*space.fixed, *others, "arch.alpha=1", "arch.beta=1")
            unscaled = cost((*base, "arch.gamma=1"))
            if "arch.gamma" in names and unscaled == cost((*base, "arch.gamma=2")):
                raise UserError(
                    "arch.gamma: images do not grow with it: datamodule.resolution or recipe.test_res is a number."
                    "\nLeave it to the network (datamodule=cifar10, recipe=efficientnet), or say arch.gamma=1."
                )
            parameters, macs = cost((*space.fixed, *point))
            yield others, Scaled(point, alpha, beta, gamma, nominal, macs / unscaled[1], parameters, macs)
