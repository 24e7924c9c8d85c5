"""docs/architectures.md has every network with a paper, and is up to date."""

import pytest
from networks import rows

from docs import gallery, papers
from lineage.analysis.papers import MARKS, numbers

ENTRIES = papers.entries()


def test_every_network_is_there():
    """Those of the golden table of which archs/papers.csv has the paper's numbers."""
    shown = [network for entry in ENTRIES for network in (entry.network, *entry.also)]
    printed = {row.arch for row in rows() if row.config in numbers()}
    assert sorted(shown) == sorted(printed), "docs/papers.yaml names other networks than archs/papers.csv"


def test_page_and_drawings_are_current():
    assert gallery.PAGE.read_text() == gallery.page(), "stale: make docs"
    assert not [entry.network for entry in ENTRIES if not gallery.is_current(entry)], "stale: make docs"
    assert set(papers.DRAWINGS.iterdir()) == {entry.drawing for entry in ENTRIES}


def test_every_network_has_its_papers_numbers():
    """Numbers, or a row that says why there are none."""
    assert set(numbers()) <= {row.config for row in rows()}
    for config, found in numbers().items():
        nothing = [number.quantity for number in found] == ["none"] and found[0].note and not found[0].value
        assert nothing or all(number.quantity != "none" for number in found), config
        assert len({(number.name, number.year) for number in found}) == 1, config


NUMBERS = [number for found in numbers().values() for number in found if number.quantity != "none"]
UNITS = {"params": {"": 1.0, "M": 1e6}, "macs": {"M": 1e6, "G": 1e9}, "connections": {"": 1.0}}


def test_numbers_are_of_known_kinds():
    for number in NUMBERS:
        assert float(number.value) > 0 and number.source and number.read_by in MARKS, number
        assert number.unit in UNITS.get(number.quantity, {"%": 1.0}), number
        assert number.quantity in UNITS or number.quantity in papers.ERRORS, number


def test_families_descend_from_older_ones():
    years = {family.family: family.year for family in papers.families()}
    for family in papers.families():
        assert all(years[parent["from"]] <= family.year and parent["idea"] for parent in family.descends)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.network)
def test_differences_are_explained(entry):
    """Where a count does not round to what the paper prints, a note says why."""
    row = next(row for row in rows() if row.arch == entry.network)
    family = next(family for family in papers.families() if entry in family.entries)
    for number in numbers()[row.config]:
        if number.quantity in ("params", "macs"):
            unit = UNITS[number.quantity][number.unit]
            half = 0.5 * unit * 10 ** -len(number.value.partition(".")[2])  # of the last digit printed
            count = row.params if number.quantity == "params" else 1e6 * (row.macs or 0)
            assert abs(count - float(number.value) * unit) <= 1.001 * half or entry.notes or family.notes
