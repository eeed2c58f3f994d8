# make copy-task    train a Neural Turing Machine to copy (makes what it needs first)
# make quick        the tests that take no time, in a minute
# make test         everything that CI runs: linter, type checker and tests
# make test-all     all tests, the exhaustive ones too, on Python 3.11 and 3.13
# make reproduce    train every task on several seeds; writes docs/results.md
# make benchmark    compare with PyTorch and with JAX by hand; writes benchmarks/results.md
# make gpu          measure on an NVIDIA GPU; writes benchmarks/results-gpu.md and the table in docs/gpu.md
# make gpu-pack     gather in .gpu/ what `make gpu` needs on a GPU machine without a network
# make docs         build the documentation into build/docs; open build/docs/index.html
# make dist         build wheel and sdist into dist/
# make hooks        lint before each commit

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: install install-test install-dev install-benchmarks copy-task reproduce benchmark gpu gpu-pack quick test test-all \
	lint types unit format docs dist hooks clean

# Whoever names a Python means it: an environment that was made with another one will not do.
# The origin of PYTHON is `file` where it is the default above.
ifneq ($(origin PYTHON),file)
ifneq ($(wildcard $(BIN)/python),)
ifeq ($(filter clean,$(MAKECMDGOALS)),)
get_version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
asked := $(call get_version,$(PYTHON))
found := $(call get_version,$(BIN)/python)
ifneq ($(asked),$(found))
$(error $(VENV) was made with Python $(found), but $(PYTHON) is $(if $(asked),Python $(asked),missing): choose another folder with \
VENV=$(VENV)-$(or $(asked),NAME), or remove this one with `make clean`)
endif
endif
endif
endif

install: $(VENV)/installed

install-test: $(VENV)/installed-test

install-dev: $(VENV)/installed-dev

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

# The environment of this folder if there is one; a machine without a network has none
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) benchmarks/gpu.py $(ARGS)

# What such a machine is expected to have: this Python, JAX with CUDA, PyTorch, NumPy, SciPy and Numba
GPU_PYTHON ?= 3.12
GPU_PACKAGES ?= pytensor==3.3.8 platformdirs filelock tqdm safetensors
GPU_PLATFORMS := manylinux_2_28_x86_64 manylinux_2_17_x86_64 manylinux2014_x86_64

gpu-pack:
	mkdir -p .gpu && rm -f .gpu/*.whl
	$(PYTHON) -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
		--python-version $(GPU_PYTHON) --implementation cp $(GPU_PLATFORMS:%=--platform %) --dest .gpu $(GPU_PACKAGES)
	@ls -l .gpu/*.whl

quick: $(VENV)/installed-test
	$(PYTEST) -m 'not slow' $(ARGS)

test: lint types unit

test-all: $(VENV)/installed-dev
	$(BIN)/nox --error-on-missing-interpreters $(ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-test
	$(BIN)/mypy

unit: $(VENV)/installed-test
	$(PYTEST) -m 'not exhaustive' $(ARGS)

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -q -W -n --keep-going -c docs -d build/doctrees . build/docs $(ARGS)
	@echo 'Open build/docs/index.html'

dist: $(VENV)/installed-test
	rm -rf build dist
	$(BIN)/python -m build

hooks: $(VENV)/installed-test $(VENV)/installed-dev
	$(BIN)/pre-commit install

clean:
	rm -rf $(VENV) .nox build dist *.egg-info
