"""docs/architectures.md says what is so: every network is in it, its counts are right, and nothing is stale."""

from __future__ import annotations

import re

import pytest
from networks import rows

from docs import gallery

ENTRIES = gallery.entries()


def test_every_network_is_there():
    shown = [network for entry in ENTRIES for network in (entry.network, *entry.also)]
    assert sorted(shown) == sorted({row.arch for row in rows()})


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.network)
def test_rows_sum_to_the_golden_counts(entry):
    """Over the stages: parameters exactly; multiply-adds as the table of facts has them, to 0.1 %."""
    found, row = gallery.anatomy(entry.network), next(row for row in rows() if row.arch == entry.network)
    assert (found.parameters, found.rows[-1].channels) == (row.params, row.num_classes)
    if row.macs is not None and row.name != "LeNet-5 (1998, exact)":  # whose table of links a counter does not see
        assert found.macs / 1e6 == pytest.approx(row.macs, rel=1e-3)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.network)
def test_drawing_is_current(entry):
    assert gallery.is_current(entry), "stale: make docs"


def test_page_is_current():
    assert gallery.PAGE.read_text() == gallery.page(), "stale: make docs"


def test_no_drawing_is_left_over():
    assert set(gallery.DRAWINGS.iterdir()) == {entry.drawing for entry in ENTRIES}


UNITS = {"M": 1e6, "million": 1e6, "billion": 1e9, "": 1.0}


def printed(text: str) -> tuple[float, float]:
    """A number as a paper prints it, and the half of its last digit: "0.27M" is (270,000, 5,000)."""
    number, unit = re.search(r"([\d.,]*\d) ?(M|million|billion|)", text).groups()
    decimals = len(number.partition(".")[2])
    return float(number.replace(",", "")) * UNITS[unit], 0.5 * 10**-decimals * UNITS[unit]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.network)
def test_differences_are_explained(entry):
    """Where a count does not round to what the paper prints, a note says why."""
    row = next(row for row in rows() if row.arch == entry.network)
    family = next(family for family in gallery.families() if entry in family.entries)
    for text, count in ((entry.parameters, row.params), (entry.macs, 1e6 * (row.macs or 0))):
        if text:
            number, half = printed(text)
            assert abs(count - number) <= 1.001 * half or entry.notes or family.notes
