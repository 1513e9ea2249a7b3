# Two commands do all the set-up: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DONE   := $(VENV)/.installed
TARGET ?= local
SOURCES := harness reference scenarios tests benchmarks

# Tests of real components share the machine with whoever else is on it, and some wait for things that take milliseconds.
# What fails is tried once more, by itself, and fails the build if it fails again; the first failure stays in the output.
# Only tests that failed (1): what pytest could not end (an interruption, a mistake of its own) is no test to try again.
twice = $(BIN)/python -m pytest $(1) -m "$(2)" || \
  { code=$$?; [ $$code -eq 1 ] || exit $$code; \
    echo "Once more, one at a time, what failed:"; \
    $(BIN)/python -m pytest --last-failed --last-failed-no-failures none -m "$(2)"; }

.DEFAULT_GOAL := help
.PHONY: help demo test test-docker images check lint types bench bench-quick report reference format clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(DONE): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; $$($(PYTHON) --version) was found. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(DONE) ## 90 s of load, two real Bedrock outages, a report; TARGET=compose runs it in containers
	@$(BIN)/agentstorm run scenarios/demo.yaml --chaos chaos/demo.yaml --target targets/$(TARGET).yaml

test: $(DONE) ## every test that needs no Docker, quick ones first
	-@$(BIN)/agentstorm tools install k6  # once, some minutes; without it the tests of k6 are skipped
	@$(BIN)/python -m pytest -n auto -m "not real and not slow and not docker"
	@$(call twice,-n 2 --dist loadfile,(real or slow) and not docker and not alone)
	@$(call twice,,alone and not docker)

test-docker: $(DONE) ## the tests on real containers; needs a Docker engine (and, without a registry, `make images`)
	@$(call twice,,docker)

images: ## every image of docker-compose.test.yml on a host without a registry: from Debian packages, Go and PyPI
	@reference/docker/offline.sh

check: lint types ## what to run before a commit: lint, types, import rules, quick tests
	@$(BIN)/python -m pytest -q -n auto -m "not real and not slow and not docker"

lint: $(DONE) ## ruff, in seconds
	@$(BIN)/ruff check --quiet $(SOURCES)
	@$(BIN)/ruff format --quiet --check $(SOURCES)

types: $(DONE) ## mypy, strict
	@$(BIN)/mypy

bench: $(DONE) ## the instrument measured: speed, truth, memory; writes benchmarks/RESULTS.md (an hour on an idle machine)
	@$(BIN)/python -m benchmarks

bench-quick: $(DONE) ## the same, smaller, in under five minutes
	@$(BIN)/python -m benchmarks --quick

format: $(DONE) ## put the code into shape
	@$(BIN)/ruff check --quiet --fix $(SOURCES)
	@$(BIN)/ruff format --quiet $(SOURCES)

reference: $(DONE) ## write docs/reference anew from the models and commands it is about
	@$(BIN)/python -m tests.reference_pages

report: $(DONE) ## rebuild the report of the newest recording
	@$(BIN)/agentstorm report "$$(ls -dt reports/*/manifest.json | head -1 | xargs dirname)"

clean: ## remove what runs and builds left (not the recordings)
	@rm -rf dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
