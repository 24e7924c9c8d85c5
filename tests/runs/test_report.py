"""lineage report with runs of this machine: a run, two runs, and what is gone or asks for another's classes."""

import pytest
from doors import finished, mistake

pytestmark = pytest.mark.xdist_group("trained")  # one worker, one fixture


def test_a_page_of_a_run_and_of_two(trained, tmp_path):
    assert f"{tmp_path}/one.html" in finished(trained, "report", "run=whole", f"out={tmp_path}/one.html").stdout
    page = (tmp_path / "one.html").read_text()
    for question in ("How good", "How did it learn", "does it confuse", "Which images", "What did it see", "What is"):
        assert question in page
    assert "Grad-CAM" in page and "Some pictures are missing" not in page and "79.8 % top-1" not in page  # of ImageNet
    finished(trained, "report", "run=[whole,short]", f"out={tmp_path}/two.html")
    page = (tmp_path / "two.html").read_text()
    assert "Where do they disagree?" in page and "whole, short" in page


def test_a_run_whose_weights_are_gone(trained, tmp_path):
    run = tmp_path / "runs" / "moved"
    run.mkdir(parents=True)
    for file in (trained / "runs" / "short").rglob("*"):
        if file.is_file() and file.suffix in (".json", ".yaml", ".csv", ".npz"):
            copy = run / file.relative_to(trained / "runs" / "short")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    finished(tmp_path, "report", "run=moved")
    assert "Some pictures are missing" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("run=shrt", "short"),
        ("", "name run=NAME"),
        ("run=[short,../x]", "below"),
        ("run=short split=val", "split"),
        ("run=2024", "2024"),
    ],
)
def test_what_cannot_be_reported(trained, words, hint):
    assert hint in mistake(trained, "report", *words.split())
