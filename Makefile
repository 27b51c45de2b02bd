# Everything from nothing on a machine with Python >= 3.10 and make. `make help` lists the targets.
# Paths may hold spaces: every path below is relative.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo test test-slow conformance lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/demo.stamp ## environment, install, then `coderep demo` into demo/
	$(BIN)/python -m coderep demo --output demo

test: $(VENV)/dev.stamp lint ## environment, install with test extras, lint, the default test suite
	$(BIN)/python -m pytest

test-slow: $(VENV)/dev.stamp ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

conformance: $(VENV)/dev.stamp ## transformers' own model tests on our classes; writes docs/CONFORMANCE.md
	$(BIN)/python tests/conformance/run.py --peer bert --output docs/CONFORMANCE.md

lint: $(VENV)/dev.stamp ## ruff
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

format: $(VENV)/dev.stamp ## let ruff rewrite the files
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean: ## remove the environment, the demo and caches
	rm -rf $(VENV) demo build *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "coderep needs Python 3.10 or newer; name one: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[eval]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@
