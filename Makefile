# `make demo` and `make test` work alone on a fresh clone with Python 3.10 or newer, make and a network:
# they make the environment, install what is pinned in requirements/constraints.txt, and run.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OLDER := $(abspath $(VENV))/ultralytics-8.3
OTHERS := $(abspath $(VENV))/peers/stamp $(abspath $(VENV))/tensorflow/stamp
SITE := import sysconfig; print(sysconfig.get_path('purelib'))
INSTALL := $(BIN)/pip install --constraint requirements/constraints.txt

# The tests run Keras on torch, and in four processes, which often wait; tests/conftest.py says how they are divided.
# WORKERS=0 runs them all in the process of pytest itself.
export KERAS_BACKEND ?= torch
WORKERS ?= 4
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadscope --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-ultralytics-8.3 lint format docs bench fuzz reliability pins clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## / { printf "make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/demo.stamp  ## train twice, compare the runs, and print the command of each dashboard
	$(BIN)/python examples/quickstart.py
	@echo "The commands are in $(BIN); to have them on the path: source $(BIN)/activate"

test: $(VENV)/dev.stamp  ## every test; PYTEST_ARGS="tests/storage/test_journal.py -x" for some
	$(PYTEST) $(PYTEST_ARGS)

test-fast: $(VENV)/dev.stamp  ## the tests that neither train for long nor start many programs
	$(PYTEST) -m "not slow" $(PYTEST_ARGS)

test-ultralytics-8.3: $(OLDER)/stamp  ## the tests of Ultralytics, with the version of requirements/ultralytics-8.3.txt
	PYTHONPATH=$(OLDER) $(PYTEST) -k "ultralytics and not test_docs" $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp  ## style, format, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp  ## mend style and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp  ## the documentation, into site/; warnings are errors
	$(BIN)/sphinx-build --fail-on-warning --keep-going docs site
	@echo "Open site/index.html"

bench: $(VENV)/dev.stamp $(OTHERS)  ## in at most 20 minutes, what tracking costs, next to other loggers; writes docs/topics/benchmarks.md
	$(BIN)/python benchmarks/bench.py --page $(BENCH_ARGS)

fuzz: $(VENV)/dev.stamp  ## search for journals that break the reader, guided by coverage; FUZZ_SECONDS=600
	$(INSTALL) --quiet --requirement requirements/fuzz.txt
	mkdir -p build/fuzz
	PYTHONPATH=tests/support $(BIN)/python reliability/fuzz_journal.py build/fuzz tests/storage/data/fuzz \
	  -artifact_prefix=build/ -max_len=8192 -max_total_time=$(or $(FUZZ_SECONDS),600) $(FUZZ_ARGS)

reliability: $(VENV)/dev.stamp  ## how often what was killed, cut off or damaged loses something; writes docs/topics/reliability.md
	PYTHONPATH=tests/support $(BIN)/python -m reliability $(RELIABILITY_ARGS)

# The newest versions that agree, for every Python and platform we support, go into constraints.txt; those that stand
# there are kept. PINS_ARGS="--upgrade" takes the newest of all, "--upgrade-package wandb" that of one.
pins: $(VENV)/dev.stamp  ## work out requirements/constraints.txt anew
	$(BIN)/uv pip compile --universal --python-version 3.10 --no-python-downloads --no-annotate \
	  --custom-compile-command "make pins" --quiet $(PINS_ARGS) \
	  --output-file requirements/constraints.txt pyproject.toml --extra all requirements/dev.txt

clean:  ## remove the environment and what was built
	rm -rf $(VENV) build dist site

$(VENV)/demo.stamp: requirements/demo.txt requirements/constraints.txt pyproject.toml | $(BIN)/pip
	@echo "==> Installing what the demo needs into $(VENV); the first time takes minutes (torch alone is some GB)"
	$(INSTALL) --requirement requirements/demo.txt --editable ".[all]"
	@touch $@

$(VENV)/dev.stamp: requirements/demo.txt requirements/dev.txt requirements/constraints.txt pyproject.toml | $(BIN)/pip
	@echo "==> Installing what the tests need into $(VENV); the first time takes minutes (torch alone is some GB)"
	$(INSTALL) --requirement requirements/dev.txt --editable ".[all]"
	@touch $@ $(VENV)/demo.stamp

$(OLDER)/stamp: requirements/ultralytics-8.3.txt | $(VENV)/dev.stamp
	@echo "==> Installing an earlier Ultralytics into $(OLDER)"
	$(BIN)/pip install --no-deps --upgrade --target $(OLDER) --requirement requirements/ultralytics-8.3.txt
	@touch $@

$(OTHERS): $(abspath $(VENV))/%/stamp: requirements/%.txt | $(VENV)/dev.stamp
	@echo "==> Installing $* into $(@D), on top of $(VENV)"
	$(BIN)/python -m venv $(@D)
	echo "import site; site.addsitedir('$$($(BIN)/python -c "$(SITE)")')" > $$($(@D)/bin/python -c "$(SITE)")/dev.pth
	@grep -v '^#' $< | while read -r package; do \
	  echo "$$package"; $(@D)/bin/pip install --quiet "$$package" < /dev/null \
	    || echo "$$package does not install here, and will not be measured."; \
	done
	@touch $@

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	  || { echo "$(PYTHON) is missing or older than 3.10. Name another one: make PYTHON=python3.12 demo"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' \
	  || { echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "==> Making the environment $(VENV)"
	$(PYTHON) -m venv $(VENV)
