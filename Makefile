# make train ARGS="arch=resnet18 datamodule=mnist"   install what is needed and train
# make test | check | proofs                          tests; lint and types; the slow part of the tests
# make mutants ARGS="recipes"                         small faults put into the code: do the tests notice each?
# make test-arch NAME=resnet50                        the tests that concern one network
# make docs                                           docs/architectures.md, recipes.md, keys.md, concepts.md, lineage.svg and the pictures
PYTHON ?= python3
BIN = .venv/bin

.PHONY: train test test-arch check proofs mutants docs

train: .venv/installed
	$(BIN)/python train.py $(ARGS)

test: .venv/installed-dev
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup $(ARGS)

test-arch: .venv/installed-dev
	$(BIN)/python -m pytest -q -k "$(NAME)" tests/unit/archs tests/unit/config/test_checks.py

proofs: .venv/installed-dev
	$(BIN)/python -m pytest -q -m proofs -n 2 $(ARGS)

mutants: .venv/installed-dev
	$(BIN)/python tests/mutants/run.py $(ARGS)

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/installed-dev
	$(BIN)/python -m docs.gallery
	$(BIN)/python -m docs.lineage
	$(BIN)/python -m docs.augmentation
	$(BIN)/python -m docs.recipes
	$(BIN)/python -m docs.keys
	$(BIN)/python -m docs.concepts

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install -q -e .
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	@touch $@
