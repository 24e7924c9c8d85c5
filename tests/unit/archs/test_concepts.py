"""docs/concepts.md and its pictures are up to date, and their numbers are those that a hand computes."""

import re

import pytest

from docs import concepts, papers

ANSWERS = {  # what Python prints on the page
    "convolution": "[[1.0, 1.0], [1.0, 0.0]]",
    "padding": "[0, 0, 1, 2] [0, 1, 1, -1] [2, 1, 0, 0] [-3, -4, -3, -1]",
    "parameters": "((2, 3, 3, 3), (2,), 56)",
    "pooling": "[[1, 2], [2, 0]] [[1, 1, 2, 2], [2, 2, 2, 2], [2, 2, 1, 1], [2, 2, 1, 0]]",
    "receptive_field": "(25, 9)",
    "residual": "(True, (1, 64, 56, 56), 73984)",
    "dense": "([64, 96, 128, 160, 192, 224], 256)",
    "groups": "([324, 108, 54], [54, 36])",
    "squeeze": "[0.953, 0.047] 8464",
    "cells": "[2, 2, 13, 13, 2] '5.2e+36 pairs of cells' ['h[i]', 'h[i-1]', 'sep5', 'sep3', 'add']",
    "scaling": "{'baseline': 1, 'width': 1.96, 'depth': 2, 'resolution': 1.96, 'compound': 1.92} "
    "{'baseline': 1.0, 'width': 1.93, 'depth': 2.03, 'resolution': 2.02, 'compound': 2.57}",
}
DRAWN = {  # numbers in a picture, from left to right and from above
    "convolution": "1101 0001 1110 1001  -1 -2 -1 000 121  1110",
    "receptive_field": "0000000 0123210 0246420 0369630 0246420 0123210 0000000",
    "squeeze": "1322 0211 21 3 0.95 0.047 0.95 2.9 1.9 1.9 0 0.095 0.047 0.047",
}


@pytest.fixture(scope="module")
def made():
    return concepts.concepts()


def test_answers(made):
    lines = {name: concept["transcript"].splitlines() for name, concept in made.items()}
    assert {name: " ".join(line for line in lines[name] if line[:3] not in (">>>", "...")) for name in lines} == ANSWERS


@pytest.mark.parametrize("name", DRAWN)
def test_drawn_numbers(made, name):
    texts = re.findall(r">(-?\d[\d.]*)</text>", made[name]["svg"])
    assert texts == re.findall(r"-?\d\.\d+|-?\d", DRAWN[name])


def test_files_are_current(made):
    assert concepts.PAGE.read_text() == papers.page(concepts.PAGE, concepts=made), "stale: make docs"
    pictures = {path.stem: path.read_text() for path in concepts.PAGE.with_suffix("").iterdir()}
    assert pictures == {name: concept["svg"] for name, concept in made.items()}, "stale: make docs"
