# The commands of this repository. `make` alone lists them. Python 3.11 to 3.13; uv is used when it is there.
# Versions and hashes: requirements.txt is what production runs, requirements-dev.txt that and what a laptop needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made-from-lock
SNOWFLAKE_STAMP := local_snowflake/.venv/.made-from-lock
TEST_ARGS ?=

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## Make .venv from the hashed lock

$(STAMP): requirements-dev.txt pyproject.toml scripts/make_venv.sh
	@echo "the first time takes some minutes"
	@scripts/make_venv.sh $(VENV) requirements-dev.txt
	@scripts/install_package.sh $(VENV)
	@touch $@

$(SNOWFLAKE_STAMP): local_snowflake/requirements.txt scripts/make_venv.sh
	@scripts/make_venv.sh local_snowflake/.venv local_snowflake/requirements.txt
	@touch $@

dev: $(STAMP)  ## Serve all tenants on 127.0.0.1 (PORT=3000, TENANTS=a,b for some)
	@exec $(BIN)/apollo dev

snowflake: $(SNOWFLAKE_STAMP)  ## Start a Snowflake of your own on this machine and print the variables to use
	@echo "Ctrl-C stops it and keeps its data. In another shell: . .apollo/snowflake/env"
	@PYTHONPATH=local_snowflake exec local_snowflake/.venv/bin/python -m local_snowflake up --root .apollo/snowflake --port $${SNOWFLAKE_PORT:-8085}

test-parts: $(STAMP) $(SNOWFLAKE_STAMP)  ## Install what the tests need beside .venv: Chromium, PostgreSQL
	@scripts/install_test_parts.sh

test: test-parts  ## Install what the tests need and run every one
	@$(BIN)/python -m pytest tests -n 2 --dist loadfile $(TEST_ARGS)
	@$(BIN)/python -m pytest local_snowflake/tests -n 2 --dist loadfile $(TEST_ARGS)

lint: $(STAMP)  ## Formatting, style and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

lock: $(STAMP)  ## Resolve the dependencies anew into the lock files
	@$(BIN)/python scripts/lock.py --upgrade

generated: $(STAMP)  ## Write anew what follows from declarations: .env.example, tables in docs/
	@$(BIN)/python -m dagster_apollo.projections.reference

clean:  ## Remove what this machine keeps: manifests, DuckDB files, logs (asks first)
	@read -r -p "Remove .apollo with every local table in it? [y/N] " answer && [[ $$answer == y ]] && rm -rf .apollo || echo "nothing removed"

.PHONY: help setup dev snowflake test-parts test lint lock generated clean
