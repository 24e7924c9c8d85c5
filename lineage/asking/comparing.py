"""What lineage compare knows of a network before and after it is measured: counts, accuracies, and the charts."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from omegaconf import DictConfig

from lineage import assemble
from lineage.analysis import charts, network_charts, networks, papers
from lineage.analysis.networks import Row
from lineage.analysis.pages.rendering import render
from lineage.anatomy.cost import count_costs, count_parameters
from lineage.asking.measuring import machine, measure
from lineage.config.derived import eval_size
from lineage.config.overrides import key_of
from lineage.errors import UserError
from lineage.files import write_whole
from lineage.weights.fetching import torchvision_accuracy

LIMITS = ("passes", "warm_up", "seconds", "max_memory")


def facts(network: str, cfg: DictConfig, dataset: str) -> Row:
    """What is counted: parameters, multiply-adds, activations, bytes of the weights. Raises UserError: see assemble."""
    built = assemble.network(cfg, device="meta")
    macs, activations = count_costs(built, cfg.datamodule.channels, eval_size(cfg))
    size = sum(tensor.numel() * tensor.element_size() for tensor in built.state_dict().values())
    return {
        "network": network, "name": networks.title(network), "dataset": dataset, "resolution": eval_size(cfg),
        "parameters": count_parameters(built), "macs": macs, "activations": activations, "file_size": size,
    }  # fmt: skip


def accuracy(network: str, cfg: DictConfig, dataset: str) -> Row:
    """top1, top5 and accuracy_of, by the command's `accuracy`; {} if it is unknown."""
    if cfg.accuracy == "papers":
        return papers.accuracy(network, dataset)
    needed = dict(cfg.published.get("torchvision") or {})
    chosen = {key_of(word).removeprefix("arch.") for word in network.split()[1:]}
    same = all(cfg.arch.get(key) == value for key, value in needed.items() if key not in ("name", "norm_eps"))
    known = dataset == "imagenet" and needed and chosen <= set(needed) and same
    return torchvision_accuracy(str(needed["name"])) if known else {}


def measured(configs: Mapping[str, DictConfig], dataset: str, file: Path, known: Mapping[str, Row]) -> list[Row]:
    """The rows of networks: those of the table, and the missing ones, which are measured; it is written after each.

    Args:
        configs: of each network, by its words.
        known: accuracies of runs.

    Raises:
        UserError: the table is of another machine; see assemble.
    """
    rows = {str(row["network"]): row for row in networks.read(file)}
    here, missing = machine(next(iter(configs.values())).device), dict[str, Row]()
    for row in rows.values():
        if other := [f"{key} {row.get(key)}" for key in here if row.get(key) != here[key]]:
            raise UserError(f"{file} was measured with {', '.join(other)}, which differs here: choose output=FOLDER.")
    for network, cfg in configs.items():  # a mistake in the last one is found before the first is measured
        method = {"dataset": dataset, "resolution": eval_size(cfg), **{key: cfg[key] for key in LIMITS}}
        if not networks.is_measured(rows.get(network, {}), method, cfg.batch):
            missing[network] = {**facts(network, cfg, dataset), **method, **here}
    for place, (network, row) in enumerate(missing.items(), start=1):
        rows[network] = row | measure(configs[network])
        networks.write(file, [*rows.values()])
        print(f"[{place}/{len(missing)}] {_line(rows[network])}", flush=True)
    for network, cfg in configs.items():
        found = known[network] if known else accuracy(network, cfg, dataset)
        rows[network] |= {"top1": None, "top5": None, "accuracy_of": None, **found}
    networks.write(file, [*rows.values()])
    return [rows[network] for network in configs]


def _line(row: Row) -> str:
    speeds = [f"{row[f'images_per_second_{n}']:,.3g} images/s ({n})" for n in networks.batches_of([row])]
    return ", ".join([row["name"], *speeds]) + (f"; left empty: {row['left_empty']}" if row["left_empty"] else "")


def draw(folder: Path, rows: Sequence[Row], best: Sequence[Row], others: Sequence[Row], cfg: DictConfig) -> list[Path]:
    """Write the charts, and the page that has them all; returns its files.

    Args:
        best: the rows that the table of the page has, in its order.
        others: of another machine.
    """
    machines = dict[str, list[Row]]()
    for row in [*rows, *others]:
        threads = f", threads: {row['threads']}" if row.get("threads") else ""
        machines.setdefault(f"{row['machine']}{threads}", []).append(row)
    figures = {
        f"ball_{key}": (network_charts.balls(rows, key), f"{key} accuracy by multiply-adds")
        for key in ("top1", "top5") if any(row.get(key) is not None for row in rows)
    }  # fmt: skip
    if "ball_top1" in figures:
        figures["density"] = network_charts.density(rows), "top-1 percent per million parameters"
        figures["speed"] = network_charts.speed(machines, min(cfg.batch)), "top-1 accuracy by images/s"
    figures["memory"] = network_charts.memory(rows), "memory by images at once"
    files = [folder / f"{name}.svg" for name in figures]
    for file, (figure, text) in zip(files, figures.values(), strict=True):
        charts.save(figure, file, text)
        for legend in filter(None, (axes.get_legend() for axes in figure.axes)):
            legend.remove()  # the page writes it below the chart
    page = render(
        "networks.html", title=f"{len(rows)} networks", every=rows, rows=best, batches=networks.batches_of(rows),
        words=cfg.under or "", machines=list(machines), figures=[charts.inline(*one) for one in figures.values()],
    )  # fmt: skip
    write_whole(folder / "index.html", page, "choose output=FOLDER")
    return [*files, folder / "index.html"]
