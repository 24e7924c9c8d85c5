"""NASNet's search (Zoph et al. 2017), arXiv 1707.07012, section A.1: a recurrent controller trained by PPO."""

from collections.abc import Sequence
from functools import partial
from random import Random
from statistics import fmean
from typing import Annotated, Any

from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Count, Outcome, Point, Seed, check_maximises_one

Positive = Annotated[float, "x > 0"]


class Controller:
    """Draws a batch of points, waits for all their rewards, learns from them, and draws the next.

    The paper does not print the optimiser (Adam here), PPO's clipping and epochs, nor the embedding (policy.py). A
    batch is a function of the seed and of the rewards of those before it.

    Args:
        space: keys with options; it has no interval.
        children: how many points.
        directions: of the objectives: one, which is maximised.
        batch: points between two updates.
        hidden: units of the LSTM.
        init: its weights begin uniform in +-init.
        lr: of Adam.
        entropy: weight of the summed entropy of all decisions.
        baseline_decay: the baseline is an exponential average over one reward after the other, in which the earlier
            ones have this weight; it begins at the mean of the first batch.
        clip, ppo_epochs: of PPO: how far the steps on a batch count, and how many they are.

    Raises:
        UserError: the objectives are others, or the space has an interval.
    """

    def __init__(
        self, space: Space, children: Count, seed: Seed, directions: Sequence[str], batch: Count = 20,
        hidden: Count = 100, init: Positive = 0.1, lr: Positive = 3.5e-4, entropy: Annotated[float, "x >= 0"] = 1e-5,
        baseline_decay: Annotated[float, "0 <= x < 1"] = 0.95, clip: Positive = 0.1, ppo_epochs: Count = 6,
    ) -> None:  # fmt: skip
        check_maximises_one(directions)
        self.space, self.options = space, space.options
        from torch.optim import Adam

        from lineage.sweeps.strategies.policy import Policy, learn

        self.trials, self.seed, self.batch, self.decay = children, seed, batch, baseline_decay
        self.policy = Policy(list(map(len, self.options)), hidden, init, seed)
        adam = Adam(self.policy.parameters(), lr)
        self.learn = partial(learn, self.policy, adam, epochs=ppo_epochs, clip=clip, entropy=entropy)
        self.baseline: float | None = None
        self.drawn = 0  # points of all batches
        self.points: list[Point] = []  # those of the present batch
        self.choices: Any = None  # that made them, a tensor (T, B)
        self.asked = 0  # of them
        self.rewards: dict[int, float] = {}  # by the place in the batch

    def ask(self, n: int) -> list[Point]:
        if len(self.rewards) == len(self.points) and self.drawn < self.trials:
            self._next_batch()
        first, self.asked = self.asked, min(self.asked + n, len(self.points))
        return self.points[first : self.asked]

    def tell(self, point: Point, outcome: Outcome) -> None:
        same = (place for place in range(self.asked) if self.points[place] == point and place not in self.rewards)
        self.rewards[next(same)] = outcome.values[0]

    def _next_batch(self) -> None:
        """Learn from the batch that is told, and draw another."""
        if self.points:
            self.learn(self.choices, self._advantages([reward for _, reward in sorted(self.rewards.items())]))
        generators = [Random(f"{self.seed} {i}") for i in range(self.drawn, min(self.drawn + self.batch, self.trials))]
        self.choices = self.policy.draw([[random.random() for _ in self.options] for random in generators])
        words = [[own[i] for own, i in zip(self.options, chosen, strict=True)] for chosen in self.choices.T.tolist()]
        self.points = list(map(self.space.point, words))
        self.drawn, self.asked, self.rewards = self.drawn + len(words), 0, {}

    def _advantages(self, rewards: Sequence[float]) -> list[float]:
        """Rewards less the baseline of those before the batch, which then takes them in."""
        before = fmean(rewards) if self.baseline is None else self.baseline
        self.baseline = before
        for reward in rewards:
            self.baseline = self.decay * self.baseline + (1 - self.decay) * reward
        return [reward - before for reward in rewards]
