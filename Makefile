PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
FOLDERS := entities hub orchestration storage

.PHONY: help dev demo test lint format types layers check bench clean

help: ## show these verbs
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@# Links beside the editable install, so that type checkers and new files need no reinstall.
	@packages=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
	mkdir -p "$$packages/perdure"; \
	for folder in $(FOLDERS); do ln -sfn "$(CURDIR)/$$folder" "$$packages/perdure/$$folder"; done
	touch $(STAMP)

dev: $(STAMP) ## set up .venv with everything for work on the code

demo: $(STAMP) ## fly every flight that left New York in January 2013, durably
	$(BIN)/python -m examples.flights

test: $(STAMP) ## run all tests
	$(BIN)/python -m pytest -q

lint: $(STAMP) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP) ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP) ## check types, strictly
	$(BIN)/basedpyright

layers: $(STAMP) ## check layers, cycles, sizes and docstrings
	$(BIN)/python -m tests.tidy

check: lint types layers ## lint, types and layers

bench: $(STAMP) ## measure this machine
	$(BIN)/python -m benchmarks

clean: ## remove what was built; not your data
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
