"""NASNet's search (Zoph et al. 2017), arXiv 1707.07012, section A.1: a recurrent controller trained by PPO."""

from collections.abc import Sequence
from random import Random
from statistics import fmean
from typing import Annotated

from lineage.sweeps.space import Space
from lineage.sweeps.strategies import Count, Outcome, Point, check_maximises_one

Positive = Annotated[float, "x > 0"]


class Controller:
    """Draws a batch of points, waits for all their rewards, learns from them, and draws the next.

    The paper prints the size of the LSTM, its initial weights, the learning rate, the entropy's weight, the baseline's
    and the batch; it does not print the optimiser (Adam here), the clipping and the epochs of PPO (arXiv 1707.06347),
    nor the embedding (policy.py). A batch is a function of the seed and of the rewards of those before.

    Args:
        space: keys with options; it has no interval.
        trials: how many points.
        directions: of the objectives: one, which is maximised.
        batch: points between two updates.
        hidden: units of the LSTM.
        init: weights begin uniform in +-init.
        lr: of Adam.
        entropy: weight of the summed entropy of all decisions.
        baseline_decay: weight of the earlier rewards in the baseline, an exponential average over one reward after the
            other, which begins at the mean of the first batch.
        clip, ppo_epochs: of PPO: steps on a batch, and how far they count (policy.py).

    Raises:
        UserError: the objectives are others, or the space has an interval.
    """

    def __init__(
        self,
        space: Space,
        trials: Count,
        seed: int,
        directions: Sequence[str],
        batch: Count = 20,
        hidden: Count = 100,
        init: Positive = 0.1,
        lr: Positive = 3.5e-4,
        entropy: Annotated[float, "x >= 0"] = 1e-5,
        baseline_decay: Annotated[float, "0 <= x < 1"] = 0.95,
        clip: Positive = 0.1,
        ppo_epochs: Count = 6,
    ) -> None:
        check_maximises_one(directions)
        self.space, self.trials, self.seed, self.options = space, trials, seed, space.options
        self.batch, self.decay = batch, baseline_decay
        from lineage.sweeps.strategies.policy import Learner, Policy  # which import torch

        policy = Policy(list(map(len, self.options)), hidden, init, seed)
        self.learner = Learner(policy, lr, clip, entropy, ppo_epochs)
        self.baseline: float | None = None
        self.drawn = 0  # points of all batches
        self.choices: list[list[int]] = []  # those of the present batch
        self.points: list[Point] = []
        self.rewards: dict[int, float] = {}  # by the place in the batch
        self.asked = 0  # points of the present batch

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
            self.learner.learn(self.choices, self._advantages([reward for _, reward in sorted(self.rewards.items())]))
        numbers = range(self.drawn, min(self.drawn + self.batch, self.trials))
        generators = [Random(f"{self.seed} {number}") for number in numbers]
        self.choices = self.learner.draw([[random.random() for _ in self.options] for random in generators])
        self.points = [
            self.space.point([options[i] for options, i in zip(self.options, chosen, strict=True)])
            for chosen in self.choices
        ]
        self.drawn, self.asked, self.rewards = self.drawn + len(self.points), 0, {}

    def _advantages(self, rewards: Sequence[float]) -> list[float]:
        """Rewards less the baseline of those before the batch, which then takes them in."""
        baseline = fmean(rewards) if self.baseline is None else self.baseline
        self.baseline = baseline
        for reward in rewards:
            self.baseline = self.decay * self.baseline + (1 - self.decay) * reward
        return [reward - baseline for reward in rewards]
