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
# The image as a test was given it: `make test-image` takes the one that `make image` built.
IMAGE_ID := dist/image.id

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

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

up: $(STAMP)  ## Bring all services up on a Docker host with Pulumi (UP_ARGS="--help")
	@$(BIN)/python -m infra.up $(UP_ARGS)

down: $(STAMP)  ## Remove what `make up` made; asks before data goes
	@$(BIN)/python -m infra.down $(DOWN_ARGS)

deploy: $(STAMP)  ## Bring Render's services to an image (DEPLOY_ARGS="--image REPOSITORY@sha256:…", or --check)
	@$(BIN)/apollo deploy $(DEPLOY_ARGS)

image: $(STAMP)  ## Build the image; its id goes to dist/image.id
	@mkdir -p dist && docker build --build-arg REVISION=$$(git rev-parse HEAD) --tag dagster-apollo:built .
	@docker image inspect --format '{{.Id}}' dagster-apollo:built > $(IMAGE_ID)

images: $(STAMP)  ## Build the images that tenants run in, of the Dockerfiles in their folders (IMAGES_ARGS="a b" for some)
	@scripts/make_images.sh $(IMAGES_ARGS)

image-archive:  ## Write the built image into dist/image.tar
	@docker save --output dist/image.tar "$$(<$(IMAGE_ID))"

test-parts: $(STAMP) $(SNOWFLAKE_STAMP)  ## Install what tests need: a browser, container engine, S3 server, OpenID provider, ...
	@scripts/install_test_parts.sh

test: test-parts  ## Install what the tests need and run every one
	@$(BIN)/python -m pytest tests -n 3 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)
	@$(BIN)/python -m pytest local_snowflake/tests -n 2 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

soak: test-parts  ## The long tests, each of which has a short form in `make test`
	@$(BIN)/python -m pytest tests -m soak $(TEST_ARGS)

test-image: test-parts  ## Bring the stack up from the built image and use it
	@APOLLO_TEST_IMAGE=$$(<$(IMAGE_ID)) $(BIN)/python -m pytest tests/e2e/test_compose.py $(TEST_ARGS)

test-infra: test-parts  ## The Pulumi program, through the engine where there is one
	@$(BIN)/python -m pytest tests/infra $(TEST_ARGS)

check-generated: $(STAMP)  ## Whether render.yaml, compose.yaml and the rest are what they are generated from
	@$(BIN)/python -m pytest -q tests/contracts/test_generated_files.py tests/contracts/test_blueprint.py

check-workflows: test-parts  ## The workflows: linters and rules
	@$(BIN)/python -m pytest -q tests/contracts/test_workflows.py tests/integration/ci/test_linters.py

lint: $(STAMP)  ## Formatting, style and types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

propose-lock:  ## A pull request with the lock files of this working tree
	@.github/propose_lock.sh

lock: $(STAMP)  ## Resolve the dependencies anew into the lock files
	@$(BIN)/python scripts/lock.py --upgrade

generated: $(STAMP)  ## Write anew what follows from declarations: render.yaml, compose.yaml, .env.example, tables in docs/
	@$(BIN)/python -m dagster_apollo.projections.reference

bench: $(STAMP)  ## Measure ours beside bare dbt and Dagster's documented way, on a quiet machine (ONLY=name for one measure)
	@$(BIN)/python -m benchmarks.side_by_side $(ONLY)

graphs: $(STAMP)  ## Draw the tenants' graphs anew
	@$(BIN)/python scripts/draw_graph.py

clean:  ## Remove what this machine keeps: manifests, DuckDB files, logs (asks first)
	@read -r -p "Remove .apollo with every local table in it? [y/N] " answer && [[ $$answer == y ]] && rm -rf .apollo || echo "nothing removed"

.PHONY: help setup dev snowflake up down deploy image images image-archive test-parts test soak test-image test-infra \
	check-generated check-workflows lint propose-lock lock generated bench graphs clean
