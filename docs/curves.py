"""The chart of all procedures over the course of their training: docs/recipes/schedules.svg"""

import hashlib
import math

from matplotlib.figure import Figure

from docs.procedures import NAMES, PICTURES, recipe, resolution, strengths
from lineage.analysis import charts
from lineage.recipes.optim.schedules import learning_rate

FILE = PICTURES / "schedules.svg"
TITLES = ("learning rate", "momentum", "augmentation", "resolution")
POINTS, STEPS = 80, 1000  # of a curve of learning rates; of an epoch
DECADES = (-6.0, 0.5)  # learning rates from 10^-6 to 10^0.5
STRENGTHS, RESOLUTIONS = 1.6, 400  # at the full height of a row: standard deviations, pixels
FULL = 0.8  # height of a row's curves, of the distance between rows


def heights(name: str) -> list[list[float]]:
    """The curves of a procedure, one for each title, as heights in [0, 1] from the first step to the last: learning
    rates on a logarithmic scale."""
    known, (low, high), rates = recipe(name), DECADES, list[float]()
    for share in (point / (POINTS - 1) for point in range(POINTS)):
        decays = min(int(share * (known.max_decays + 1)), known.max_decays)  # of plateaus of equal length
        rate = learning_rate(known, round(share * (known.total_epochs * STEPS - 1)), STEPS, decays)
        rates.append((math.log10(max(rate, 10**low)) - low) / (high - low))
    sides = [side / RESOLUTIONS for side in known.progressive_res or [resolution(name)] * 2]
    return [rates, [known.momentum] * 2, [strengths()[name] / STRENGTHS] * 2, sides]


def fingerprint() -> str:
    """A hash of all curves to three decimals, by which a test finds the chart out of date."""
    curves = [(name, [[f"{value:.3f}" for value in values] for values in heights(name)]) for name in NAMES]
    return hashlib.sha256(repr(curves).encode()).hexdigest()


def draw() -> Figure:
    """A row for each procedure, a column for each title."""
    figure = Figure(figsize=(12.8, 9.6))
    panels = figure.subplots(1, len(TITLES), sharey=True, width_ratios=(2, 1, 1, 1))
    for column, (panel, title) in enumerate(zip(panels, TITLES, strict=True)):
        colour = f"C{column}"
        panel.set_title(title, color=colour)
        panel.set(xticks=[], xlim=(0, 1), ylim=(len(NAMES) - 0.8, -1))
        panel.spines[:].set_visible(False)
        panel.tick_params(length=0)
        for row, name in enumerate(NAMES):
            tops = [row - FULL * value for value in heights(name)[column]]
            across = [place / (len(tops) - 1) for place in range(len(tops))]
            panel.fill_between(across, row, tops, color=colour, alpha=0.3, linewidth=0)
            panel.plot(across, tops, color=colour, linewidth=1.6)
            label = ("", f"{recipe(name).momentum:g}", f"{strengths()[name]:.2f}", str(resolution(name)))[column]
            panel.text(0.03, row - 0.12, label, fontsize=14, bbox=charts.GROUND)
    epochs = [f"{name}, {recipe(name).total_epochs}" for name in NAMES]
    panels[0].set_yticks([row - 0.3 for row in range(len(NAMES))], epochs)
    return figure


def main() -> None:
    charts.save(draw(), FILE, fingerprint())
