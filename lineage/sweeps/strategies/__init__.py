"""What a sweep tries next: a grid, or a search that learns from results. Every strategy has the same two functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

from lineage.errors import UserError

Count = Annotated[int, "x >= 1"]
Seed = Annotated[int, "0 <= x < 2**32"]
State = Literal["finished", "failed", "pruned"]
Point = tuple[str, ...]  # the words of a job that the strategy has chosen: recipe.lr=0.1


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        values: of the sweep's objectives, in their order; a job that failed or diverged has 0 for what is maximised
            and infinity for what is minimised; a pruned one has its last values.
    """

    values: tuple[float, ...]
    state: State = "finished"


class Strategy(Protocol):
    """A function of its seed and of the results so far: built again, asked and told the same, it asks for the same."""

    def ask(self, n: int) -> Sequence[Point]:
        """At most n points. None: it waits for the result of a job that runs, or, if none runs, has ended."""
        ...

    def tell(self, point: Point, outcome: Outcome) -> None:
        """The outcome of a point, once for each time that it was asked for."""
        ...


def check_maximises_one(directions: Sequence[str]) -> None:
    """Raise UserError unless the search has one objective, which it maximises."""
    if list(directions) != ["maximize"]:
        raise UserError("This search has one objective: hydra.sweeper.maximise=val_top1 hydra.sweeper.minimise=null.")


@runtime_checkable
class Prunes(Strategy, Protocol):
    """A strategy that also ends jobs early."""

    def report(self, point: Point, epoch: int, value: float) -> bool:
        """The first objective of a job after an epoch; whether the job ends now. Called for each epoch in its order."""
        ...
