# Two commands matter: `make book` and `make test`. Set-up runs once, and again when the lock or pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c requirements.lock
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help book test clean

help: ## say what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do printf '  make %-6s %s\n' "$$name" "$$text"; done
	@echo "  PYTHON=python3.12 picks another interpreter, ARGS='-k store' goes to pytest"

book: $(VENV)/.book ## run every recipe at tiny scale and build the site; minutes the first time, seconds after that
	$(BIN)/python -m ood_core run --all --scale tiny
	$(BIN)/jupyter-book build book/ -W --keep-going
	@echo "Open $(CURDIR)/book/_build/html/index.html"

test: $(VENV)/.test ## run all tests
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal $(ARGS)

clean: ## remove the environment and the built site; runs/ stays, it holds training
	rm -rf $(VENV) book/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name one: make book PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), and Python 3.11 or newer is needed. Name another: make book PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.book: requirements.lock pyproject.toml $(VENV)/.made
	$(INSTALL) -e ".[book]"
	@touch $@

$(VENV)/.test: requirements.lock pyproject.toml $(VENV)/.made
	$(INSTALL) -e ".[test]"
	@touch $(VENV)/.book $@
