# `make demo` and `make test` need Python 3.11 or later and nothing else: they make their own .venv.
#   make demo             the example data set, segmented: says what was found and where the report lies
#   make test             every quick test, as CI runs them
#   make test-all         the slow tests too
#   make check            lint, types, import contracts, tests
#   make test-container   the example under a read-only root, a foreign user, no HOME, no network (needs bubblewrap)
#   make bench-evaluate   how long `coactseg evaluate` takes, beside medpy (installed here; N=20 for fewer cases)
#   make bench-train      a training step and its samples against the published way
#   make bench-ablation   the rows of Table 3 on prepared data: PREPARED="DIR DIR" OUT=DIR [SET=defaults] [ARGS="--iterations 300"]
#   make bench-accuracy   injected new lesions and null pairs: PREPARED="DIR DIR" OUT=DIR MODELS="FILE=label,label FILE=label" [PAIRS=56]
#   make leave-one-out    the real cases, each with a model that never saw it: PREPARED, OUT and MODELS as above (another OUT)
#   make calibrate        thresholds and temperatures, tables, docs: RESULTS="DIR DIR" (both OUTs); then MODEL=IN TO=OUT writes the model file
#   make noise-floor      what a rescan changes, on prepared data: PREPARED="DIR DIR" OUT=DIR [MODEL=FILE] [N=20] [ARGS="--participant-label 01"]
#   make faults        kill -9, full disks, two runs at once ...: seeded faults, and a rerun that must mend each [N=200] [SEED=1] [ARGS="--jobs 2"]
#   make long-cohort   many participants in one process, one in ten broken: memory, open files and time stay flat [N=200]
#   PIP_ARGS="--index-url ..."  is handed to every pip call

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first interpreter that runs and is new enough. A pyenv shim can exist and not run.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP_ARGS ?=
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --no-input $(PIP_ARGS) -c constraints.txt
DEMO ?= demo
SOURCES := pyproject.toml constraints.txt
TORCH := $(shell grep -m1 '^torch==' constraints.txt)

export PYTHONNOUSERSITE := 1

.PHONY: help demo test test-all check lint format types contracts test-container bench-evaluate bench-train bench-ablation bench-accuracy \
	leave-one-out calibrate noise-floor faults long-cohort constraints clean

help:
	@sed -n '/^SHELL/q; s/^# \{0,1\}//p' Makefile

# --- environments: one folder, a stamp file for each set of packages -------------------------------------------

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later was not found; name it with make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact pin, so that no other package can choose another build of it
$(VENV)/.run: $(SOURCES) | $(BIN)/python
	@echo "Installing what coactseg needs into $(VENV) (a few minutes the first time) ..."
	$(INSTALL) "$(TORCH)"
	$(INSTALL) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(INSTALL) -e '.[test,validate]'
	@touch $@

$(VENV)/.dev: $(VENV)/.test
	$(INSTALL) -e '.[dev]'
	@touch $@

# --- what a person runs ------------------------------------------------------------------------------------------

demo: $(VENV)/.run
	$(BIN)/python examples/make_dataset.py $(DEMO)/bids
	$(BIN)/coactseg segment $(DEMO)/bids $(DEMO)/out participant

test: $(VENV)/.test
	$(BIN)/python -m pytest -m "not slow and not shared and not gpu"

test-all: $(VENV)/.test
	$(BIN)/python -m pytest

check: lint types contracts test

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

test-container: $(VENV)/.run
	hpc/test_container.sh $(BIN)

bench-evaluate: $(VENV)/.run
	$(INSTALL) "medpy==0.5.2"
	$(BIN)/python benchmarks/evaluate.py --cases $(or $(N),200)

bench-train: $(VENV)/.run
	$(BIN)/python benchmarks/training.py

bench-ablation: $(VENV)/.run
	$(BIN)/python benchmarks/ablation.py $(OUT) $(PREPARED) --set $(or $(SET),table3) $(ARGS)

bench-accuracy: $(VENV)/.run
	$(BIN)/python -m benchmarks.accuracy run $(PREPARED) --out $(OUT) $(MODELS:%=--model %) --pairs $(or $(PAIRS),56) $(ARGS)

leave-one-out: $(VENV)/.run
	$(BIN)/python benchmarks/leave_one_out.py $(PREPARED) --out $(OUT) $(MODELS:%=--model %) $(ARGS)

calibrate: $(VENV)/.run
	$(BIN)/python benchmarks/calibrate.py choose $(RESULTS)
	$(BIN)/python benchmarks/model_card.py tables $(RESULTS)
	$(if $(MODEL),$(BIN)/python benchmarks/calibrate.py write $(MODEL) $(TO))
	$(BIN)/python benchmarks/model_card.py docs

noise-floor: $(VENV)/.run
	$(BIN)/python benchmarks/noise_floor.py $(PREPARED) --out $(OUT) --copies $(or $(N),20) --model $(or $(MODEL),default) $(ARGS)

faults: $(VENV)/.run
	$(BIN)/python -m benchmarks.faults --n $(or $(N),200) --seed $(or $(SEED),1) $(ARGS)

long-cohort: $(VENV)/.run
	$(BIN)/python benchmarks/long_cohort.py --n $(or $(N),200) $(ARGS)

constraints: $(VENV)/.dev
	{ head -2 constraints.txt; $(PIP) freeze --all --exclude-editable | grep -viE '^(pip|wheel)==| @ ' | sed 's/+cpu$$//' | sort -f; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf $(DEMO) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
