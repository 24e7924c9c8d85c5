"""Our draws in the place of Python's `random` module, for another library's operation that tries until a box fits."""

import math

from torch import Tensor


class Replayed:
    """Of one image: ten numbers in [0, 1) each for area, ratio, top and left, (40,)."""

    def __init__(self, draws: Tensor, chance: float = 0.0) -> None:
        self.draws, self.chance = draws.view(4, -1).tolist(), chance
        self.asked = self.placed = 0

    def random(self) -> float:
        return self.chance

    def uniform(self, low: float, high: float) -> float:
        kind, self.asked = self.asked % 2, self.asked + 1
        return low + (high - low) * self.draws[kind][(self.asked - 1) // 2]

    def randint(self, low: int, high: int) -> int:
        self.placed += 1
        return low + math.floor(self.draws[1 + self.placed][(self.asked - 1) // 2] * (high - low + 1))
