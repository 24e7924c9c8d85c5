"""Aging evolution (Real et al. 2018), arXiv 1802.01548, Algorithm 1."""

from bisect import insort
from collections import defaultdict
from collections.abc import Sequence
from random import Random

from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Count, Outcome, Point, Seed, check_maximises_one


class Evolution:
    """Random points until `population` are told; then each is a child of the best of `sample` that live.

    A child differs from its parent in one decision, drawn uniformly, and has another value there. Those live that were
    asked for last: when a point is told and more than `population` live, the oldest dies, however good it is. Which
    point is asked for depends on the seed, its number, and the points that were told before; not on their order.

    Args:
        children: how many points, the random ones included.
        population, sample: P and S of the paper, whose values are the defaults.
        directions: of the objectives: one, which is maximised.

    Raises:
        UserError: the objectives are others.
    """

    def __init__(
        self, space: Space, children: Count, seed: Seed, directions: Sequence[str],
        population: Count = 100, sample: Count = 25,
    ) -> None:  # fmt: skip
        check_maximises_one(directions)
        self.space, self.trials, self.seed = space, children, seed
        self.population, self.sample = population, sample
        self.asked = 0
        self.waiting: dict[Point, list[tuple[int, list[str]]]] = defaultdict(list)  # numbers and values, oldest first
        self.living: list[tuple[int, list[str], float]] = []  # number, values, reward; oldest first

    def ask(self, n: int) -> list[Point]:
        points = []
        for number in range(self.asked, min(self.asked + n, self.trials)):
            random = Random(f"{self.seed} {number}")
            values = self._child(random) if len(self.living) == self.population else self.space.draw(random)
            points.append(self.space.point(values))
            self.waiting[points[-1]].append((number, values))
        self.asked += len(points)
        return points

    def tell(self, point: Point, outcome: Outcome) -> None:
        number, values = self.waiting[point].pop(0)
        insort(self.living, (number, values, outcome.values[0]))
        del self.living[: -self.population]

    def _child(self, random: Random) -> list[str]:
        drawn = [random.choice(self.living) for _ in range(self.sample)]  # with replacement, as in the paper
        values = list(max(drawn, key=lambda one: one[2])[1])
        place = random.randrange(len(values))
        dimension = self.space.dimensions[place]
        others = [option for option in dimension.options if option != values[place]]
        values[place] = random.choice(others) if others else dimension.draw(random)
        return values
