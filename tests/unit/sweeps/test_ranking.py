"""The tables at the end of a sweep."""

import csv
import json

import pytest

from lineage.errors import UserError
from lineage.sweeps.jobs import Job, check_distinct, find_run, job_name, make_jobs, save_history
from lineage.sweeps.ranking import best_values, by_seed, means_over_seeds, show_ranking

TOP1 = {"recipe=wrn": (0.5, 0.7), "recipe=rsb_a2": (0.9, 0.9)}
JOBS = {(recipe, f"seed={seed}"): top1 for recipe, values in TOP1.items() for seed, top1 in enumerate(values)}


def finished(folder, results):
    sweep = folder / "grid"
    jobs = make_jobs(sweep, list(results))
    save_history(sweep, jobs)
    for job, top1 in zip(jobs, results.values(), strict=True):
        job.folder.mkdir()
        found = {"val_top1": top1, "test_top1": top1 - 0.1, "test_loss": 1.0, "seconds": 3.0}
        (job.folder / "results.json").write_text(json.dumps(found))
    return sweep, jobs


def test_means_and_deviations_over_seeds_are_ranked(tmp_path):
    _, jobs = finished(tmp_path, JOBS)
    groups = by_seed((job, json.loads((job.folder / "results.json").read_text())) for job in jobs)
    best, other = means_over_seeds(groups)
    assert best == ["1", "0.9000 ± 0.0000", "0.8000 ± 0.0000", "1.0000 ± 0.0000", "2", "recipe=rsb_a2"]
    assert other == ["2", "0.6000 ± 0.1414", "0.5000 ± 0.1414", "1.0000 ± 0.0000", "2", "recipe=wrn"]  # 0.2 / sqrt(2)
    folds = [(Job(n, ["seed=0", f"datamodule.fold={n}"], tmp_path), {"val_top1": n / 10}) for n in range(5)]
    assert [results["val_top1"] for runs in by_seed(folds).values() for results in runs] == [0, 0.1, 0.2, 0.3, 0.4]


def test_a_sweep_over_seeds_ends_in_their_means(tmp_path, capsys):
    one_seed = {words: top1 for words, top1 in JOBS.items() if "seed=0" in words}
    tables = []
    for jobs in (one_seed, JOBS):
        sweep, _ = finished(tmp_path / str(len(jobs)), jobs)
        assert show_ranking(sweep, sweep.parent)
        tables.append(capsys.readouterr().out.split("val top-1")[1:])
    assert [len(found) for found in tables] == [1, 2] and "0.6000 ± 0.1414" in tables[1][1]
    with open(sweep / "ranking.csv") as file:
        best, *others = csv.DictReader(file)
    assert (best["place"], best["job"], best["recipe"], best["test_top1"]) == (
        "1",
        "recipe-rsb_a2_seed-0",
        "rsb_a2",
        "0.8",
    )
    assert [row["val_top1"] for row in others] == ["0.9", "0.7", "0.5"] and others[-1]["seed"] == "0"


def test_jobs_are_named_by_what_differs_and_keep_their_names(tmp_path):
    def names(*points: str) -> list[str]:
        jobs = make_jobs(tmp_path, [point.split() for point in points])
        save_history(tmp_path, jobs)
        for job in jobs:
            job.folder.mkdir(exist_ok=True)
            (job.folder / "overrides.yaml").write_text(json.dumps([*job.overrides, "run=x"]))
        return [job.folder.name for job in jobs]

    assert names("recipe=wrn seed=0", "recipe=wrn seed=1") == ["seed-0", "seed-1"]
    others = names("recipe=rsb_a2 seed=0", "recipe=rsb_a2 seed=1")  # in the same folder
    assert others == ["recipe-rsb_a2_seed-0", "recipe-rsb_a2_seed-1"]
    assert names("recipe=wrn seed=0", "recipe=wrn seed=1", "recipe=wrn seed=2") == ["seed-0", "seed-1", "seed-2"]
    assert names("recipe=wrn seed=1") == ["seed-1"]  # alone, as a launcher of processes asks
    assert names("recipe=rsb_a2 seed=0", "recipe=rsb_a2 seed=3") == ["recipe-rsb_a2_seed-0", "seed-3"]
    roots = ("datamodule=packed datamodule.root=a", "datamodule=packed datamodule.root=b")
    assert names(*roots) == ["datamodule.root-a", "datamodule.root-b"]


def test_different_jobs_have_different_names():
    """What a name cannot hold, or what is cut from it, is in its hash."""
    points = ["a=[1,2]", "a=(1,2)", f"a={150 * 'x'}", f"a={150 * 'x'}y", "+a=[1,2]", "trainer.devices=2", "seed=0"]
    names = [job_name([point]) for point in points]
    assert names[0] == names[4] and len(set(names)) == 6 and names[5:] == ["default", "seed-0"]
    assert all(len(name) <= 150 and name.isascii() for name in names)


def test_the_best_values_of_a_key(tmp_path):
    values = {("recipe.lr=1", "seed=0"): 0.5, ("recipe.lr=3", "seed=0"): 0.9, ("recipe.lr=3", "seed=1"): 0.8}
    sweep, _ = finished(tmp_path, {**values, ("recipe.lr=2", "seed=0"): 0.7})
    assert best_values(sweep, "recipe.lr", 2) == ["3", "2"]
    with pytest.raises(UserError, match=r"no finished job with arch\.cells"):
        best_values(sweep, "arch.cells", 1)


def test_a_number_is_that_of_a_job_and_no_word_of_a_name(tmp_path):
    _, jobs = finished(tmp_path, {("recipe.epochs=2", "seed=0"): 0.5, ("recipe.epochs=3", "seed=0"): 0.5})
    (jobs[0].folder / "config.yaml").touch()
    assert find_run(tmp_path, "grid/1") == find_run(tmp_path, "grid/epochs-2") == jobs[0].folder
    with pytest.raises(UserError, match="run=grid/2: this job, recipe.epochs-3, has not begun"):
        find_run(tmp_path, "grid/2")
    with pytest.raises(UserError, match="run=grid/3: the sweep has 2 jobs"):
        find_run(tmp_path, "grid/3")


def test_jobs_of_one_directory_are_refused(tmp_path):
    check_distinct(make_jobs(tmp_path, [["seed=0", "trainer.devices=1"], ["seed=1", "trainer.devices=1"]]))
    for words in (["trainer.max_epochs=1"], ["trainer.max_epochs=3"]), (["seed=0"], ["seed=0"]):
        with pytest.raises(UserError, match=f"{words[1][0]}: it does not make another job"):
            check_distinct(make_jobs(tmp_path, words))


def test_a_job_that_its_time_stopped_has_not_failed(tmp_path, capsys):
    sweep = tmp_path / "grid"
    (job,) = make_jobs(sweep, [["seed=0"]])
    save_history(sweep, [job])
    job.folder.mkdir()
    stopped = "2026-11-28 begun\n2026-11-28 Stopped by trainer.max_time=00:00:10:00 at step 3, saved.\n"
    (job.folder / "train.log").write_text(stopped)
    assert not show_ranking(sweep, tmp_path)
    assert "not finished: 1 seed-0" in capsys.readouterr().out
