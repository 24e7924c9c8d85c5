"""Draw docs/results/NAME.svg: validation accuracy over training, with a band over the seeds of each procedure.

python -m docs.learning NAME runs/SWEEP ...      a band for each sweep; the values are kept in docs/results/NAME.csv
python -m docs.learning NAME                     draw the values of that file again
"""

import csv
import sys
from pathlib import Path
from statistics import fmean

from lineage.analysis import charts
from lineage.analysis.pages.run_files import RunFiles

TITLE = "top-1 of the validation images: mean, lowest and highest of the seeds"
RESULTS = Path(__file__).parent / "results"
COLUMNS = ("procedure", "seed", "epoch", "val_top1")  # of NAME.csv


def collect(sweeps: list[str], file: Path) -> None:
    """Write the accuracies of sweeps. A sweep's folder is called PREFIX_PROCEDURE; each of its jobs is a seed."""
    with open(file, "w", newline="") as opened:
        writer = csv.writer(opened, lineterminator="\n")
        writer.writerow(COLUMNS)
        for sweep in map(Path, sweeps):
            name = sweep.name.partition("_")[2] or sweep.name
            for seed, metrics in enumerate(sorted(sweep.glob("*/metrics.csv"))):
                curve = RunFiles(name, metrics.parent).curve("val_top1")
                writer.writerows([name, seed, int(epoch), round(top1, 4)] for epoch, (top1,) in curve.items())


def read(file: Path) -> charts.Curves:
    """By procedure and epoch, the accuracies of all seeds; the highest mean at the end comes first."""
    found: dict[str, dict[float, list[float]]] = {}
    with open(file) as opened:
        for row in csv.DictReader(opened):
            epochs = found.setdefault(row["procedure"], {})
            epochs.setdefault(int(row["epoch"]), []).append(float(row["val_top1"]))
    return dict(sorted(found.items(), key=lambda entry: -fmean(list(entry[1].values())[-1])))


if __name__ == "__main__":
    name, *sweeps = sys.argv[1:]
    file = RESULTS / f"{name}.csv"
    if sweeps:
        collect(sweeps, file)
    charts.save(charts.curves(read(file), TITLE, small=False), file.with_suffix(".svg"))
