# Needs Python 3.10 or newer, pip and make; every target prepares what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What pytest is told; PYTEST_ARGS= runs in one process, PYTEST_ARGS="-m 'not slow'" is quick.
PYTEST_ARGS ?= -n 2 --dist worksteal
# One thread a process: so figures do not depend on the machine, and small networks are quicker.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
# Where nothing is kept compiled, each start compiles torch: 30 s of a processor instead of 9.
unexport PYTHONDONTWRITEBYTECODE

# Where make bench-cuda writes; what is there already is not measured again.
BENCH ?= runs/bench-cuda

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo picture test test-cuda bench-cuda lint docs format dist clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-19s%s\n", $$1, $$2}'

install: $(VENV)/.installed  ## install the command: .venv/bin/nasp
	@echo "Installed: $(BIN)/nasp"

# So small that networks differ: on the digits all large ones reach 99.4 %.
demo: $(VENV)/.installed  ## search at a given size on the embedded digits, train the result and rivals of that size
	rm -rf runs/demo
	$(ONE_THREAD) $(BIN)/nasp search --target params=2.5K --bound-at channels=2,cells=1 --no-train --out runs/demo
	$(ONE_THREAD) $(BIN)/nasp train runs/demo --beside random:2 --beside resnet
	$(BIN)/nasp report runs/demo

picture: $(VENV)/.installed  ## draw the picture of the README from the demo's search
	$(BIN)/nasp show runs/demo --plot docs/results/digits-search.png

test: $(VENV)/.installed-dev  ## run every test, the slow ones too
	$(ONE_THREAD) $(BIN)/pytest $(PYTEST_ARGS)

test-cuda: $(VENV)/.installed-dev  ## run what needs a GPU; where there is none, say so
	$(BIN)/pytest -rs -n 4 tests/cuda

# Rivals as their authors run them. Five iterations after five of warm-up, in which graphs are
# captured; on an H200 the first takes 114 s and the second 129, the whole was not timed.
COST := $(BIN)/nasp bench cost --device cuda --batch 64 --rounds 1 --warmup 5 --repeats 5
bench-cuda: $(VENV)/.installed  ## measure all that the documentation says of a GPU, into $(BENCH)
	mkdir -p $(BENCH)
	-$(BIN)/nasp bench epoch --device cuda --json $(BENCH)/epoch-darts.json
	-$(COST) --rows nasp,darts,darts-second-order,nasp-uniform,floor,floor-captured --json $(BENCH)/cost-darts.json
	-$(COST) --rows floor,nasp,darts --fast --json $(BENCH)/cost-darts-fast.json
	-$(COST) --rows floor,nasp --dtype bfloat16 --json $(BENCH)/cost-darts-bfloat16.json
	-$(COST) --rows floor,nasp --space nasbench201 --cells 5 --json $(BENCH)/cost-nasbench201.json

lint: $(VENV)/.installed-dev  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

# Not --quiet: warnings that it swallows are none to --strict.
docs: $(VENV)/.installed-dev  ## build the documentation's site into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: $(VENV)/.installed-dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

dist: $(VENV)/.installed-dev  ## build the wheel and the sdist of nasp-torch into dist/
	$(BIN)/python -m hatchling build -c

clean:  ## remove caches and builds (runs/ and .venv/ stay)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# Not compiled: Python does that where it imports a file, and most are never imported.
# The stamps are newer than pyproject.toml as long as what is installed agrees with it.
$(VENV)/.installed: $(VENV)/pyvenv.cfg pyproject.toml
	$(PIP) install --no-compile -e '.[report]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/pyvenv.cfg pyproject.toml
	$(PIP) install --no-compile -e '.[dev]'
	@touch $(VENV)/.installed $@

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "nasp needs Python 3.10 or newer, this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
