"""The pages that lineage report writes: what a browser would fetch and run, and what readers without pictures get."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
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
FLAGS = "--headless --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr --dump-dom".split()
NASTY = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a,b \x1b[31m", "$\\frac"]
NASTY += ["\udcff\u202e", "{{ 7 * 7 }}"]
# The last row is of a run before the test had its row.
METRICS = "epoch,step,lr,val_loss,val_top1,test_loss\n1,10,0.1,1,0.4,\n2,20,1e-3,0.5,0.4,\n2,20,,,,1\n"
GONE = Extras(missing=["The images are gone."])


def written(folder, name: str = NASTY[0], seed: int = 0, lr: str = "0.1", classes: int = 12) -> RunFiles:
    """A finished run with a record."""
    record, _ = made(classes=classes)
    record = replace(record, classes=[*NASTY, *record.classes[len(NASTY) :]])
    record.write_below(folder)
    overrides = [f"recipe.lr={lr}", f"seed={seed}", f"arch={NASTY[1]}", f"run={name}"]
    results = {"test_top1": 0.5 + seed / 100, "val_top1": 0.4, "macs": 10**6, "seconds": 60.5 + seed, "seed": seed}
    results |= {"arch": NASTY[1], "notes": [NASTY[0]], "overrides": overrides, "skipped": {NASTY[0]: "cut off"}}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "metrics.csv").write_text(METRICS)
    (folder / "train.log").write_text("2026-11-30 12:00:00 run: x  continues: at step 1,0, from last.ckpt\n")
    return RunFiles(name, folder)


def extras() -> Extras:
    pixels = numpy.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=numpy.uint8)
    counts, recipe = {"training": list(range(12)), "test": [5] * 12}, {"progressive_res": [16, 32]}
    return Extras({"recipe": recipe}, NASTY[0], lambda _: pixels, lambda _, classes: [pixels] * len(classes), counts)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [written(folder / str(i), f"{NASTY[0]}{i}", seed=i % 2, lr=("0.1", "0.02")[i // 2]) for i in range(4)]
    return {"run": run_page(runs[0], extras()), "sweep": comparison_page(runs, NASTY[0], {NASTY[0]: runs})}


@pytest.mark.parametrize("name", ["run", "sweep"])
def test_a_page_asks_for_nothing_runs_its_own_script_alone_and_describes_its_pictures(pages, name):
    page, tags = pages[name], list[tuple[str, dict[str, str | None]]]()
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, dict(attributes)))
    parser.feed(page)
    assert [tag for tag, _ in tags].count("script") == 1
    for tag, attributes in tags:
        assert not [key for key in attributes if key.startswith("on")], attributes
        for key in ("src", "href", "xlink:href", "action"):
            assert re.match(r"data:|#|$", attributes.get(key) or ""), attributes
        assert tag not in ("iframe", "object", "embed", "base", "form")
        assert tag not in ("img", "svg") or attributes.get("alt") or attributes.get("aria-label"), attributes
    assert "url(" not in page.replace("url(#", "") and "@import" not in page and "<svg" in page
    assert "\x1b" not in page and "\u202e" not in page and "49" not in re.findall(r">(\d+)<", page)
    assert len(page.encode()) < 10**6


def test_the_same_files_make_the_same_bytes(tmp_path):
    files = written(tmp_path / "run")
    assert run_page(files, extras()) == run_page(RunFiles(files.name, files.folder), extras())


def test_what_a_run_lacks_is_left_out(tmp_path):
    files = written(tmp_path / "run", classes=50)
    assert 'class="matrix' not in run_page(files, GONE)  # of many classes only pairs
    shutil.rmtree(files.folder / "evaluations")
    (files.folder / "results.json").unlink()
    bare = run_page(RunFiles("bare", files.folder), GONE)
    assert "The images are gone." in bare and "evaluate.py run=bare" in bare and "How good" not in bare
    with pytest.raises(UserError, match="none of these runs is finished"):
        comparison_page([RunFiles("bare", files.folder)], "bare")
    (files.folder / "results.json").write_text("[1")
    with pytest.raises(UserError, match="damaged"):
        run_page(RunFiles("bare", files.folder), Extras())


def test_a_model_card(tmp_path):
    _, front, text = model_card(written(tmp_path / "run"), ["a", "b"], NASTY[0]).split("---\n", 2)
    (model,) = yaml.safe_load(front)["model-index"]
    assert model["name"] == NASTY[0] and model["results"][0]["metrics"][0]["type"] == "accuracy"
    assert "| test-last | 400 |" in text and "2 classes" in text and NASTY[0] not in text.partition("    python")[0]


def test_a_run_that_diverged_has_a_page(tmp_path):
    files = written(tmp_path / "run")
    record = files.records[0]
    lost = {name: values * numpy.nan for name, values in record.columns.items() if values.dtype.kind == "f"}
    replace(record, columns={**record.columns, **lost}).write_below(files.folder)
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
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path}/profile", f"file://{tmp_path}/{file}.html"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ":CONSOLE" not in done.stderr
    assert re.search("<title>(.*?)</title>", done.stdout)[1] == "375,375,0"
