"""The pages that lineage report writes: what a browser would fetch and run, and what readers without pictures get."""

import csv
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy
import pytest
import yaml
from unit.analysis.test_record import made

from lineage.analysis.pages.comparison import comparison_page
from lineage.analysis.pages.rendering import model_card
from lineage.analysis.pages.run import Extras, run_page
from lineage.analysis.pages.run_files import RunFiles
from lineage.errors import UserError

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a,b \x1b[31m",
    "$\\frac",
    "\udcff\u202e",
    "{{ 7 }}",
]


def written(folder, name: str = NASTY[0], seed: int = 0, lr: str = "0.1", classes: int = 12) -> RunFiles:
    """A finished run with a record."""
    folder.mkdir(parents=True)
    record, _ = made(classes=classes)
    record = type(record)(**{**vars(record), "classes": [*NASTY, *record.classes[len(NASTY) :]]})
    record.write(folder / "evaluations" / record.name)
    overrides = [f"recipe.lr={lr}", f"seed={seed}", f"arch={NASTY[1]}", f"run={name}"]
    results = {"test_top1": 0.5 + seed / 100, "val_top1": 0.4, "macs": 10**6, "seconds": 60.5 + seed, "seed": seed}
    results |= {"arch": NASTY[1], "notes": [NASTY[0]], "overrides": overrides, "skipped": {NASTY[0]: "cut off"}}
    (folder / "results.json").write_text(json.dumps(results))
    with open(folder / "metrics.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, ["epoch", "step", "lr", "train_loss", "val_loss", "val_top1", "test_loss"])
        rows.writeheader()
        rows.writerows({"epoch": e, "step": 10 * e, "lr": 0.1 / e, "val_loss": 1 / e, "val_top1": 0.4} for e in (1, 2))
        rows.writerow({"epoch": 2, "step": 20, "test_loss": 1})  # of a run before the test had its row
    (folder / "train.log").write_text("2026-11-30 12:00:00 run: x  continues: at step 1,0, from last.ckpt\n")
    return RunFiles(name, folder)


def extras() -> Extras:
    pixels = numpy.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
    counts = {"training": list(range(12)), "test": [5] * 12}
    return Extras(
        {"recipe": {"progressive_res": [16, 32]}},
        NASTY[0],
        lambda i: pixels,
        lambda i, classes: [pixels] * len(classes),
        counts,
    )


class Seen(HTMLParser):
    """The elements of a page, and the text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [written(folder / str(i), f"{NASTY[0]}{i}", seed=i % 2, lr=("0.1", "0.02")[i // 2]) for i in range(4)]
    return {"run": run_page(runs[0], extras()), "sweep": comparison_page(runs, NASTY[0])}


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_a_page_asks_for_nothing_and_runs_its_own_script_alone(pages, name):
    seen = Seen(pages[name])
    assert [tag for tag, _ in seen.tags].count("script") == 1
    for tag, attributes in seen.tags:
        assert not [key for key in attributes if key.startswith("on")], attributes
        for key in ("src", "href", "xlink:href", "action"):
            assert re.match(r"data:|#|$", attributes.get(key) or ""), attributes
        assert tag not in ("iframe", "object", "embed", "base", "form")
    assert "url(" not in pages[name].replace("url(#", "") and "@import" not in pages[name]
    assert "\x1b" not in pages[name] and "\u202e" not in pages[name] and "49" not in re.findall(r">(\d+)<", pages[name])
    assert len(pages[name].encode()) < 10**6


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_pictures_have_descriptions(pages, name):
    pictures = [attributes for tag, attributes in Seen(pages[name]).tags if tag in ("img", "svg")]
    assert pictures and all(one.get("alt") or one.get("aria-label") for one in pictures)


def test_the_same_files_make_the_same_bytes(tmp_path):
    files = written(tmp_path / "run")
    assert run_page(files, extras()) == run_page(RunFiles(files.name, files.folder), extras())


def test_what_a_run_lacks_is_left_out(tmp_path):
    files = written(tmp_path / "run", classes=50)
    assert 'class="matrix' not in run_page(
        files, Extras(missing=["The images are gone."])
    )  # of many classes only pairs
    shutil.rmtree(files.folder / "evaluations")
    (files.folder / "results.json").unlink()
    bare = run_page(RunFiles("bare", files.folder), Extras(missing=["The images are gone."]))
    assert "The images are gone." in bare and "evaluate.py run=bare" in bare and "How good" not in bare
    with pytest.raises(UserError, match="none of these runs is finished"):
        comparison_page([RunFiles("bare", files.folder)], "bare")
    (files.folder / "results.json").write_text("[1")
    with pytest.raises(UserError, match="damaged"):
        run_page(RunFiles("bare", files.folder), Extras())


def test_a_model_card(tmp_path):
    _, front, text = model_card(written(tmp_path / "run"), ["a", "b"], NASTY[0]).split("---\n", 2)
    assert yaml.safe_load(front)["model-index"][0]["results"][0]["metrics"][0]["type"] == "accuracy"
    assert "| test-last | 400 |" in text and "2 classes" in text and NASTY[0] not in text.partition("    python")[0]


def test_a_run_that_diverged_has_a_page(tmp_path):
    files = written(tmp_path / "run")
    record = files.records[0]
    lost = {name: values * numpy.nan for name, values in record.columns.items() if values.dtype.kind == "f"}
    type(record)(**{**vars(record), "columns": {**record.columns, **lost}}).write(files.folder / "evaluations" / "test")
    shutil.rmtree(files.folder / "evaluations" / record.name)
    assert "nan" in run_page(RunFiles("lost", files.folder), extras())


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("name", ["run", "sweep"])
def test_in_a_browser(pages, name, tmp_path):
    """At 375 pixels nothing is wider than the window, no script fails or is refused, and nothing is fetched."""
    measure = (
        "<script>parent.document.title = [innerWidth, document.documentElement.scrollWidth, performance"
        ".getEntriesByType('resource').filter((one) => !one.name.startsWith('data:')).length].join()</script>"
    )
    page = re.sub("<meta http-equiv.*", "", pages[name]) + measure  # whose policy refuses this script
    frame = f'<title></title><iframe width="375" style="border: 0" srcdoc="{html.escape(page)}"></iframe>'
    for file, text in (("page", pages[name]), ("frame", frame)):
        (tmp_path / f"{file}.html").write_text(text)
        flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr --dump-dom".split()
        command = [CHROMIUM, *flags, f"--user-data-dir={tmp_path}/profile", f"file://{tmp_path}/{file}.html"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ":CONSOLE" not in done.stderr
    assert re.search("<title>(.*?)</title>", done.stdout)[1] == "375,375,0"
