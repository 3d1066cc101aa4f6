# What people do with onepath. Every target sets up its own environment first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
UNIT = tests/unit -n logical --maxprocesses 4
SLOW = tests/integration/test_latency_flow.py tests/integration/test_nodes.py tests/integration/test_postgres.py

.PHONY: help install quickstart test slow unit lint wheel clean fuzz chaos nodes jobs

help:  ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED)  ## Create the environment with pinned versions (about 6 GB, a few minutes)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info < (3, 15)' 2> /dev/null \
		|| { echo "onepath needs Python 3.11 to 3.14; say which with PYTHON=python3.13"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[openvino,dev]'
	@touch $@

quickstart: $(INSTALLED)  ## Search digits for 2 targets x 2 latency limits, in a few minutes
	$(BIN)/onepath sweep quickstart

test: $(INSTALLED)  ## Lint, type-check and run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(UNIT)
	$(BIN)/python -m pytest tests/fuzz -n logical --maxprocesses 4
	$(BIN)/python -m pytest tests/integration $(SLOW:%=--ignore=%) -n 2 --dist worksteal --timeout 900

slow: $(INSTALLED)  ## Run what wants a quiet machine, PostgreSQL or 6 GB from pip: real measurements, nodes that die
	$(BIN)/python -m pytest $(SLOW)
	ONEPATH_FRESH=pip $(BIN)/python -m pytest tests/integration/test_fresh_environments.py

unit: $(INSTALLED)  ## Run the unit tests (a minute or two)
	$(BIN)/python -m pytest $(UNIT)

lint: $(INSTALLED)  ## Lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

fuzz: $(INSTALLED)  ## Try thousands of other mutations of configurations, spaces, targets and stored files
	FUZZ_SEED=$$(date +%s) FUZZ_COUNT=1000 $(BIN)/python -m pytest tests/fuzz -n logical --timeout 3600

chaos: $(INSTALLED)  ## Kill workers and drivers of small sweeps at random, 50 times (about a quarter of an hour)
	$(BIN)/python -m benchmarks.chaos --kills 50

nodes: $(INSTALLED)  ## Run sweeps over separate nodes, network namespaces (root), and take nodes and links away
	$(BIN)/python -m benchmarks.nodes

jobs: $(INSTALLED)  ## Submit a sweep as a Ray job, kill it, and submit it again
	$(BIN)/python -m benchmarks.jobs

wheel: $(INSTALLED)  ## Build dist/onepath-*.whl
	$(BIN)/python -m build --wheel

clean:  ## Remove the environment and what was built
	rm -rf $(VENV) build dist *.egg-info
