# `make demo` and `make test` are all a fresh clone needs; both make .venv on their first call.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

SEEDS  ?= 1000
FIRST  ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types unit bench faults screenshots schemas simulate lock clean

help:
	@echo "make demo    a code review on a private server, watched as it runs"
	@echo "make test    lint, formatting, types and every test"
	@echo "make lint    ruff, and whether the tree is formatted"
	@echo "make format  format the tree and mend what ruff can mend"
	@echo "make types   pyright, strict, on src"
	@echo "make unit    every test, nothing else"
	@echo "make bench   the benchmarks; results in benchmarks/results.json"
	@echo "make simulate  SEEDS=n simulated deployments under everything that can go wrong"
	@echo "make screenshots  the pictures of README and docs, from the demo"
	@echo "make schemas  the JSON Schemas in docs/schema, made anew"
	@echo "make faults  kill server, worker and NATS twenty times each under load"
	@echo "make lock    resolve requirements.lock anew"
	@echo "make clean   remove .venv and everything that is made"

demo: $(STAMP)
	@$(BIN)/python -m dagnats demo

test: lint types unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)
	$(BIN)/pyright

unit: $(STAMP)
	$(BIN)/python -m pytest -n 2

bench: $(STAMP)
	$(BIN)/python -m benchmarks.run

simulate: $(STAMP)
	$(BIN)/python -m tests.simulation.campaign --first $(FIRST) --seeds $(SEEDS) $(if $(BUG),--bug $(BUG))

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "dagnats needs Python 3.11 or newer, and '$(PYTHON)' is not: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

screenshots: $(STAMP)
	$(BIN)/python scripts/make_screenshots.py

faults: $(STAMP)
	@for victim in server worker nats; do \
	  $(BIN)/python -m dagnats verify tests/faults/workflow.json --worker "$(BIN)/python tests/faults/worker.py" \
	    --runs 300 --kills 20 --only $$victim || exit 1; done

schemas: $(STAMP)
	$(BIN)/python scripts/make_schemas.py
	$(BIN)/python scripts/make_output_schemas.py

lock:
	@rm -rf .lock && $(PYTHON) -m venv .lock
	@.lock/bin/python -m pip install -q --disable-pip-version-check -r requirements.in hatchling editables
	@.lock/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation -e .
	@{ sed -n '/^#/p' requirements.lock; \
	   .lock/bin/python -m pip freeze --exclude-editable; } > .lock/new
	@mv .lock/new requirements.lock && rm -rf .lock

clean:
	rm -rf $(VENV) .lock dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
