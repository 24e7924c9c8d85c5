"""A search by optuna (Akiba et al., 2019, arXiv 1907.10902): its samplers choose points, its pruners end poor jobs."""

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lineage.errors import UserError
from lineage.sweeps.space import Dimension, Space
from lineage.sweeps.strategies import Count, Outcome, Point, Seed

try:
    import cmaes  # noqa: F401  which optuna imports when it builds that sampler
    import optuna
    from optuna import distributions, pruners, samplers
    from optuna.storages.journal import JournalFileBackend
except ImportError as error:  # none, or one before 4
    raise UserError('hydra/sweeper=optuna needs two packages: pip install "optuna>=5,<6" cmaes') from error

optuna.logging.set_verbosity(optuna.logging.WARNING)
SAMPLERS: dict[str, type[samplers.BaseSampler]] = {
    "tpe": samplers.TPESampler,
    "nsga2": samplers.NSGAIISampler,
    "cmaes": samplers.CmaEsSampler,
    "random": samplers.RandomSampler,
}
PRUNERS: dict[str | None, type[pruners.BasePruner]] = {
    None: pruners.NopPruner,
    "asha": pruners.SuccessiveHalvingPruner,
    "hyperband": pruners.HyperbandPruner,
    "median": pruners.MedianPruner,
}
METRICS = ("val_top1", "val_top5", "val_loss", "train_top1", "train_loss")  # that an epoch has
NAME = "sweep"  # of the study; Hyperband draws a job's bracket from it


class Optuna:
    """The points of optuna's own study with the same seed, if both are asked and told in the same order.

    Which jobs a pruner ends depends on how far the others are at that second: it is told like a result, and is no
    function of the seed. The points are one of the seed and of what was told, if all epochs of a job are reported
    before its outcome is told.

    Args:
        trials: how many points.
        directions, names: of the objectives: "maximize" or "minimize", and "val_top1".
        sampler_options, pruner_options: arguments of optuna's classes.
        journal: where optuna's journal of the study is written anew, for other programs: this class does not read it.
            A job is added when it and all that were asked for before it have ended.

    Raises:
        UserError: an argument or option is not optuna's, or does not fit the space or the objectives.
    """

    def __init__(
        self, space: Space, trials: Count, seed: Seed, directions: Sequence[str], names: Sequence[str],
        sampler: Literal["tpe", "nsga2", "cmaes", "random"], sampler_options: Mapping[str, Any] | None = None,
        pruner: Literal["asha", "hyperband", "median"] | None = None,
        pruner_options: Mapping[str, Any] | None = None, journal: Path | None = None,
    ) -> None:  # fmt: skip
        _check(space, names, sampler, pruner, pruner_options or {})
        self.space, self.trials = space, trials
        self.distributions = {dimension.name: _distribution(dimension) for dimension in space.dimensions}
        self.waiting: dict[Point, list[optuna.Trial]] = defaultdict(list)  # for their outcomes, oldest first
        first = {"min_resource": 1} if pruner == "asha" else {}  # optuna's "auto" prunes no job before one has finished
        self.study = optuna.create_study(
            study_name=NAME,
            directions=[optuna.study.StudyDirection[direction.upper()] for direction in directions],
            sampler=_built(SAMPLERS[sampler], "sampler_options", {"seed": seed}, sampler_options),
            pruner=_built(PRUNERS[pruner], "pruner_options", first, pruner_options),
        )
        self.written = _journal(journal, self.study) if journal else None

    def ask(self, n: int) -> list[Point]:
        return [self._ask() for _ in range(min(n, self.trials - len(self.study.get_trials(deepcopy=False))))]

    def _ask(self) -> Point:
        try:
            trial = self.study.ask(self.distributions)
        except (TypeError, ValueError) as error:  # some options are read only here
            raise UserError(f"hydra.sweeper.sampler_options: {error}") from error
        chosen = [(dimension, trial.params[dimension.name]) for dimension in self.space.dimensions]
        point = self.space.point([value if d.options else d.word(value) for d, value in chosen])
        self.waiting[point].append(trial)
        return point

    def report(self, point: Point, epoch: int, value: float) -> bool:
        if len(self.study.directions) > 1:
            return False  # optuna takes no values of epochs here
        trial = self.waiting[point][0]
        trial.report(value, epoch)
        return trial.should_prune()

    def tell(self, point: Point, outcome: Outcome) -> None:
        trial = self.waiting[point].pop(0)
        if outcome.state == "pruned":
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:  # a failed job has values too, which keep a sampler away from it
            self.study.tell(trial, outcome.values)
        if self.written:
            for ended in self.study.get_trials(deepcopy=False)[len(self.written.get_trials(deepcopy=False)) :]:
                if not ended.state.is_finished():
                    break
                self.written.add_trial(ended)


def _journal(path: Path, study: optuna.Study) -> optuna.Study:
    """A copy of a study in a new journal. A line for each job is fast, where optuna's line for each value is not."""
    for old in (path, Path(f"{path}.lock")):  # which a killed process may have left
        old.unlink(missing_ok=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return optuna.create_study(storage=storage, study_name=NAME, directions=study.directions)


def _distribution(dimension: Dimension) -> distributions.BaseDistribution:
    if dimension.options:
        return distributions.CategoricalDistribution(dimension.options)
    if dimension.integer:
        return distributions.IntDistribution(int(dimension.low), int(dimension.high), dimension.log)
    return distributions.FloatDistribution(dimension.low, dimension.high, dimension.log)


def _check(
    space: Space, names: Sequence[str], sampler: str, pruner: str | None, pruner_options: Mapping[str, Any]
) -> None:
    """Raise UserError: optuna would fail at the first point, or leave something out."""
    lists = [dimension.name for dimension in space.dimensions if dimension.options]
    if sampler == "cmaes" and (lists or len(names) > 1):
        given = f"for {lists[0]}" if lists else f"for {' and '.join(names)}"
        raise UserError(f"hydra.sweeper.sampler=cmaes takes intervals alone, and one objective; {given}, sampler=tpe.")
    if pruner and (len(names) > 1 or names[0] not in METRICS):
        raise UserError(
            f"hydra.sweeper.pruner={pruner} compares epochs by one objective, {', '.join(METRICS)}; "
            f"for {' and '.join(names)}, pruner=null."
        )
    if pruner == "hyperband" and not isinstance(pruner_options.get("max_resource"), int):
        raise UserError("hydra.sweeper.pruner=hyperband needs 'hydra.sweeper.pruner_options={max_resource: EPOCHS}'.")


def _built(made: type[Any], key: str, own: Mapping[str, Any], options: Mapping[str, Any] | None) -> Any:
    """An object of optuna's. Raises UserError: an option that it does not take."""
    try:
        with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
            return made(**{**own, **(options or {})})
    except (TypeError, ValueError) as error:
        raise UserError(f"hydra.sweeper.{key}: {error}") from error
