"""Random search: the baseline of every other search."""

from random import Random

from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Count, Outcome, Point, Seed


class RandomSearch:
    """Independent points of the space: number i, of `trials`, is a function of (seed, i)."""

    def __init__(self, space: Space, trials: Count, seed: Seed) -> None:
        self.space, self.trials, self.seed = space, trials, seed
        self.asked = 0

    def ask(self, n: int) -> list[Point]:
        first, self.asked = self.asked, min(self.asked + n, self.trials)
        return [self.space.point(self.space.draw(Random(f"{self.seed} {i}"))) for i in range(first, self.asked)]

    def tell(self, point: Point, outcome: Outcome) -> None:
        """Nothing to learn."""
