# make copy-task    train a Neural Turing Machine to copy (makes what it needs first)
# make reproduce    train every task on several seeds; writes docs/results.md
# make benchmark    compare with PyTorch and with JAX by hand; writes benchmarks/results.md
# make test         everything that CI runs

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: install install-test install-benchmarks copy-task reproduce benchmark test lint types unit format clean

install: $(VENV)/installed

install-test: $(VENV)/installed-test

install-benchmarks: $(VENV)/installed-benchmarks

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, but $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo 'On Debian and Ubuntu: apt install python3-venv'; exit 1; }

$(VENV)/installed: setup.py pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-%: setup.py pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@ $(VENV)/installed

copy-task: $(VENV)/installed
	$(BIN)/python examples/copy-task.py $(ARGS)

reproduce: $(VENV)/installed
	$(BIN)/python scripts/reproduce.py $(ARGS)

benchmark: install-benchmarks
	$(BIN)/python benchmarks/run.py $(ARGS)

test: lint types unit

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

unit: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal $(ARGS)

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info
