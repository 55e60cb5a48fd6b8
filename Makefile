# Everything from a fresh clone: `make demo` and `make test` make the
# environment first, and a second run reuses it. `make` alone lists the targets.

# The Python that .venv is made with.
PYTHON ?= python3
# A folder with a wheel of mmcv; without one mmcv is compiled from source.
WHEELS ?= $(wildcard ../shared/wheels)
# Processes that tests run in; each takes one core and up to 5 GB.
JOBS ?= 2

BIN := .venv/bin
READY := .venv/installed
READY_3D := .venv/installed-mmdet3d
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

export MPLBACKEND ?= Agg
export PYTHONUNBUFFERED := 1

.PHONY: help venv demo demo-3d test quick mutations property lint format docs
.DEFAULT_GOAL := help

help:
	@echo 'make venv    make .venv with the pinned stack and chex_mm'
	@echo 'make demo    train, slim and evaluate a small Mask R-CNN (10 minutes)'
	@echo 'make demo-3d the same with a small VoteNet on point clouds (12 minutes)'
	@echo 'make test    all tests'
	@echo 'make quick   the tests that take seconds'
	@echo 'make mutations  planted bugs, each caught by its test (10 minutes)'
	@echo 'make property   10,000 random networks, any mask (an hour or more)'
	@echo 'make lint    check style and format; make format repairs the latter'
	@echo 'make docs    the documentation, into build/site'
	@echo
	@echo 'Variables: PYTHON=$(PYTHON)  WHEELS=$(WHEELS)  JOBS=$(JOBS)'

venv: $(READY)

$(READY): requirements.txt requirements-dev.txt setup.py tools/install.py
	@$(PYTHON) tools/install.py $(WHEELS:%=--wheels '%')

$(READY_3D): requirements-mmdet3d.txt $(READY)
	@$(PYTHON) tools/install.py --mmdet3d $(WHEELS:%=--wheels '%')

demo: $(READY)
	$(BIN)/python tools/demo.py

demo-3d: $(READY_3D)
	$(BIN)/python tools/demo.py --task 3d

test: $(READY_3D)
	$(PYTEST)

quick: $(READY_3D)
	$(PYTEST) -m 'not slow'

mutations: $(READY_3D)
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutations/check.py

property: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/property.py --jobs $(JOBS)

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(READY)
	$(BIN)/ruff format

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
