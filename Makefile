# zv_versioned: everything a checkout can do. `make help` lists it.
#
# Each target installs what it needs into $(VENV) by itself, once, and again
# when pyproject.toml has changed. Another interpreter gets its own folder:
#   make test PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
DEMO_REPOSITORY ?= build/demo
TESTARGS ?=
# A test file stays in one process; `make test PARALLEL=` runs all in one.
PARALLEL ?= -n auto --maxprocesses 8 --dist loadfile
# Of the long tests, those of one file are spread over all processes.
LONG_PARALLEL ?= -n auto --maxprocesses 8 --dist worksteal
BENCHARGS ?=

PY := $(VENV)/bin/python
# The example data of the demo. The wheel is used as a folder of files, without
# its dependencies, which are many and of no use here; pip need not warn of that.
DEMO_DATA := navis==1.12.0
# Real tractograms for the tests, in the same way.
TEST_DATA := dipy==1.12.1
PIP_INSTALL := $(PY) -m pip install -qq --disable-pip-version-check --no-input --no-warn-conflicts

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-long check format bench bench-read docs install clean

help: ## list the targets
	@echo "usage: make TARGET [PYTHON=python3] [VENV=.venv]"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "  %-10s %s\n", $$1, $$2}'

demo: $(VENV)/.stamp-demo ## append, branch, merge, take mistakes back: real neurons, under a minute
	@rm -rf $(DEMO_REPOSITORY)
	@$(PY) -m zv_versioned demo --path $(DEMO_REPOSITORY)

test: $(VENV)/.stamp-dev ## run the tests (all but those marked long)
	$(PY) -m pytest -m "not long" $(PARALLEL) $(TESTARGS)

test-long: $(VENV)/.stamp-dev ## run all the tests, those that take hours too, with many more examples
	HYPOTHESIS_PROFILE=long $(PY) -m pytest $(LONG_PARALLEL) $(TESTARGS)

check: $(VENV)/.stamp-dev ## lint, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.stamp-dev ## let ruff mend what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(VENV)/.stamp-bench ## measure appends and reads beside other stores
	$(PY) benchmarks/append.py $(BENCHARGS)

bench-read: $(VENV)/.stamp-bench ## measure reads beside other stores, on disk and on S3
	$(PY) benchmarks/read.py $(BENCHARGS)

docs: $(VENV)/.stamp-docs ## build the documentation, into build/site; a warning is an error
	$(PY) docs/history_picture.py docs/images/history.svg
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

install: $(VENV)/.stamp-dev ## prepare $(VENV) for work on the code, and nothing else

clean: ## remove the environments, the demo's repository and all caches
	rm -rf .venv .venv-* $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- environments ----------------------------------------------------------

$(VENV)/.stamp-venv:
	@$(PYTHON) -c '' || { \
	  echo "PYTHON=$(PYTHON) does not start: see above." >&2; \
	  echo "Name one that does: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "zv_versioned needs Python 3.11 or newer; PYTHON=$(PYTHON) is not." >&2; \
	  echo "Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "-- $(VENV): a new environment, $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Could not make $(VENV): is the venv module of $(PYTHON) installed?" >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-demo: $(VENV)/.stamp-venv pyproject.toml
	@echo "-- $(VENV): installing zv_versioned and what it needs (the first time: about a minute)"
	@$(PIP_INSTALL) -e .
	@echo "-- $(VENV): installing the example data, $(DEMO_DATA)"
	@$(PIP_INSTALL) --no-deps "$(DEMO_DATA)"
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-demo
	@echo "-- $(VENV): installing the tools for tests and checks"
	@$(PIP_INSTALL) -e ".[dev]"
	@$(PIP_INSTALL) --no-deps "$(TEST_DATA)"
	@touch $@

$(VENV)/.stamp-bench: $(VENV)/.stamp-demo
	@echo "-- $(VENV): installing the stores to compare with"
	@$(PIP_INSTALL) -e ".[bench]"
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-demo
	@echo "-- $(VENV): installing what builds the documentation"
	@$(PIP_INSTALL) -e ".[docs]"
	@touch $@
