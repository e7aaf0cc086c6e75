# Needs make and Python 3.11 or later; another one than python3 by `make PYTHON=python3.12 dev`.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# For pytest: `make test ARGS="tests/hub -k lock"`. For the benchmarks and the demo: their own options.
ARGS ?=

# The editable install makes `perdure` and its metadata known. The links beside it are what is imported: type checkers follow
# them, and a new file needs no new install.
define LINK
import os, pathlib, sysconfig, tomllib
folders = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
linked = pathlib.Path(sysconfig.get_path("purelib"), "perdure")
linked.mkdir(exist_ok=True)
for old in linked.iterdir():
    old.unlink()
for package, folder in folders.items():
    linked.joinpath(package.removeprefix("perdure.")).symlink_to(os.path.relpath(folder, linked))
endef
export LINK

.PHONY: help dev demo test lint format types layers check torture bench clean

help: ## show these verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Perdure needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] + "; name another one: make PYTHON=python3.12 dev" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV), once"
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(RUN) -c "$$LINK"
	@touch $(STAMP)

dev: $(STAMP) ## set up .venv with everything for work on the code

demo: $(STAMP) ## fly every flight that left New York in January 2013, durably
	$(RUN) -m examples.flights $(ARGS)

test: $(STAMP) ## run all tests
	$(RUN) -m pytest $(ARGS)

lint: $(STAMP) ## check style
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(STAMP) ## put the code into the project's format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: $(STAMP) ## check types, strictly
	$(RUN) -m basedpyright

layers: $(STAMP) ## check layers, cycles, sizes and docstrings
	$(RUN) -m tests.tidy

check: lint types layers ## lint, types and layers

torture: $(STAMP) ## simulate crashes and faults for long, and plant faults: ARGS="--seeds 500 --minutes 5"
	$(RUN) -m perdure.testing.simulate --seeds 20000 $(ARGS)
	$(RUN) -m tests.simulation.mutations
	$(RUN) -m tests.crash.power_cuts --states 60000 --minutes 4
	$(RUN) -m tests.crash.bit_flips 400 1

bench: $(STAMP) ## measure this machine
	$(RUN) -m benchmarks $(ARGS)

clean: ## remove what was built; not your data
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
