"""Charts in the style of docs/chart.mplstyle, saved as SVG."""

from pathlib import Path

import matplotlib.style
from matplotlib.figure import Figure

matplotlib.style.use(Path(__file__).with_name("chart.mplstyle"))


def save(figure: Figure, file: Path, description: str = "") -> None:
    """Write an SVG that has the same bytes at any time; its metadata hold the description."""
    figure.savefig(file, metadata={"Date": None, "Creator": None, "Description": description})
