# Everything from nothing on a machine with Python >= 3.10 and make. `make help` lists the targets.
# Paths may hold spaces: every path below is relative.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

PROFILE := demo
JOBS := 2
CORPUS = corpus/$(PROFILE)
BUILD = --source $(CORPUS)/source --num-proc $(JOBS) --near-dedup 0.85 $(if $(EVALUATION),--decontaminate $(EVALUATION))

.PHONY: help demo corpus reproduce-mini test test-slow conformance lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-15s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/demo.stamp ## environment, install, then `coderep demo` into demo/
	$(BIN)/python -m coderep demo --output demo

corpus: $(VENV)/demo.stamp ## real source code in nine languages and both data sets of it; PROFILE=full for 490 MB, JOBS=2
	$(BIN)/python scripts/get_corpus.py $(PROFILE) $(CORPUS)/source || test $$? -eq 1
	test -d $(CORPUS)/tokenizer || $(BIN)/python -m coderep data tokenizer --source $(CORPUS)/source \
		--share $(if $(filter full,$(PROFILE)),0.2,1) --output $(CORPUS)/tokenizer
	test -d $(CORPUS)/pairs || $(BIN)/python -m coderep data pairs $(BUILD) --keep-dropped --output $(CORPUS)/pairs
	test -d $(CORPUS)/stage1 || $(BIN)/python -m coderep data stage1 $(BUILD) --tokenizer $(CORPUS)/tokenizer \
		--output $(CORPUS)/stage1
	$(BIN)/python -m coderep data report $(CORPUS)/pairs $(CORPUS)/stage1 --output $(CORPUS)/report

# Every step is left out when its result is there, and training goes on where it was stopped.
MINI = runs/mini
reproduce-mini: $(VENV)/demo.stamp ## the training of coderep-mini from the corpus on: hours; EVALUATION="SETS" keeps these out
	$(MAKE) corpus PROFILE=full
	$(BIN)/python scripts/get_backbone.py $(MINI)/start
	test -d $(MINI)/trimmed/model || $(BIN)/python -m coderep train trim $(MINI)/start --data corpus/full/pairs \
		--size 19500 --output $(MINI)/trimmed
	test -d $(MINI)/pairs || $(BIN)/python -m coderep data augment corpus/full/pairs --output $(MINI)/pairs --query-share 0.35 \
		--renamed-share 0.08 --across-model $(MINI)/start --across-share 0.12 --across-pool 120000 --max-repeats 3
	$(BIN)/python -m coderep train contrastive --config trainers/recipes/coderep-mini.yaml --model $(MINI)/trimmed/model \
		--data $(MINI)/pairs --output_dir $(MINI)/contrastive
	test -d $(MINI)/average/model || $(BIN)/python -m coderep train average $(MINI)/trimmed/model $(MINI)/contrastive/model \
		--shares 0.3 0.7 --output $(MINI)/average
	$(if $(EVALUATION),$(BIN)/python -m coderep eval leakage --train $(MINI)/pairs --eval $(EVALUATION) --output $(MINI)/leakage.json)
	$(BIN)/python -m coderep export $(MINI)/average $(MINI)/coderep-mini --overwrite --dtype bfloat16 --max-shard-size 15MB \
		--license apache-2.0 --base-model sentence-transformers/all-MiniLM-L6-v2 $(if $(EVALUATION),--leakage $(MINI)/leakage.json)

# A file's tests stay together, since they share fixtures; files in order, since the number of tests says little of the time.
test: $(VENV)/dev.stamp lint ## environment, install with test extras, lint, the default test suite in JOBS=2 processes
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

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
	$(PIP) install -q -c constraints.txt -e '.[eval,dedup]'
	touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q -c constraints.txt torch
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	touch $@
