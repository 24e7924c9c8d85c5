"""The space that a search draws from, in Hydra's words: recipe.lr=tag(log,interval(1e-3,1)) recipe.ema=0,0.99."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from hydra.core.override_parser.types import IntervalSweep, Override

from lineage.archs import genotype
from lineage.errors import UserError
from lineage.sweeps.strategies import Point

CELLS = re.compile(r"cells\((\d+)\)")


@dataclass(frozen=True)
class Dimension:
    """One value to choose: among options, or in an interval, which `log` spreads by its logarithm.

    Args:
        name: the key, or the key and the number of the decision in it.
        options: as words; empty for an interval.
        low, high: the ends of the interval, both included.
        integer: whether only whole numbers count.
    """

    name: str
    options: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    integer: bool = False

    def draw(self, random: Random) -> str:
        if self.options:
            return random.choice(self.options)
        low, high = self.low - self.integer * 0.5, self.high + self.integer * 0.5
        value = math.exp(random.uniform(math.log(low), math.log(high))) if self.log else random.uniform(low, high)
        return self.word(min(max(value, self.low), self.high))

    def word(self, value: float) -> str:
        """A number of the interval, with the digits that matter to a reader."""
        return str(round(value)) if self.integer else f"{value:.6g}"


class Space:
    """The keys that a command leaves open.

    Args:
        overrides: those of the command, parsed by Hydra. `KEY="cells(5)"` is a pair of NASNet's cells of 5 blocks.

    Raises:
        UserError: nothing is left open, or an interval cannot be used.
    """

    def __init__(self, overrides: Iterable[Override]) -> None:
        self.fixed: Point = ()  # the words that have one value
        self.keys: list[tuple[str, int, list[Dimension]]] = []  # key, blocks of a pair of cells or 0, what is chosen
        for override in overrides:
            key, value = override.get_key_element(), override.value()
            found = CELLS.fullmatch(value) if isinstance(value, str) else None
            if found:
                blocks = int(found[1])
                names = [f"{key}[{i}]" for i in range(10 * blocks)]
                each = zip(names, genotype.options(blocks), strict=True)
                self.keys.append((key, blocks, [Dimension(name, options) for name, options in each]))
            elif isinstance(value, IntervalSweep):
                self.keys.append((key, 0, [_interval(key, value)]))
            elif override.is_sweep_override():
                self.keys.append((key, 0, [Dimension(key, tuple(override.sweep_string_iterator()))]))
            else:
                self.fixed += (str(override.input_line),)
        self.dimensions = [dimension for _, _, own in self.keys for dimension in own]
        if not self.dimensions:
            raise UserError('A search needs a key that is open: "recipe.lr=tag(log,interval(1e-3,1))", or a list.')

    @property
    def options(self) -> list[tuple[str, ...]]:
        """Those of each dimension. Raises UserError: one is an interval."""
        for dimension in self.dimensions:
            if not dimension.options:
                raise UserError(f"{dimension.name}: this search chooses among values: {dimension.name}=choice(1,2,4).")
        return [dimension.options for dimension in self.dimensions]

    def point(self, values: Sequence[str]) -> Point:
        """The words for a value of each dimension."""
        rest, words = list(values), []
        for key, blocks, own in self.keys:
            mine, rest = rest[: len(own)], rest[len(own) :]
            words.append(f"{key}={genotype.word(mine) if blocks else mine[0]}")
        return tuple(words)

    def at(self, fraction: float) -> list[str]:
        """The values at a fraction of each dimension: 0 is its first, 1 its last."""
        return [
            each.options[round(fraction * (len(each.options) - 1))]
            if each.options
            else each.word(each.low + fraction * (each.high - each.low))
            for each in self.dimensions
        ]

    def draw(self, random: Random) -> list[str]:
        """A value of each dimension, at random."""
        return [dimension.draw(random) for dimension in self.dimensions]


def _interval(key: str, sweep: IntervalSweep) -> Dimension:
    low, high = sweep.start, sweep.end
    assert low is not None and high is not None
    if not low < high or ("log" in sweep.tags and low <= 0):
        raise UserError(f"{key}: interval({low:g},{high:g}) has to rise, and with tag(log, ...) to begin above 0.")
    return Dimension(key, (), low, high, "log" in sweep.tags, isinstance(low, int) and isinstance(high, int))
