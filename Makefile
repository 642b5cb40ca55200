# `make` lists the targets. Everything runs in .venv, which the first target that needs it sets up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--override overrides.txt

.PHONY: help run test check e2e lint types format lock clean

help:  ## list the targets
	@sed -nE 's/^([a-z0-9]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/ready  ## Label Studio, Redis, backend and worker on this machine, with a sample project
	@$(BIN)/python -m deploy.stack

test: $(VENV)/ready  ## unit and integration tests; brings its own Redis and LLM server
	$(BIN)/python -m pytest tests/unit tests/integration

check: lint types test  ## what must pass before a commit

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

e2e: $(VENV)/ready  ## a real Label Studio 1.23, and its labeling interface in Chromium
	$(BIN)/python -m pytest tests/e2e

format: $(VENV)/ready  ## put the code in shape
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: $(VENV)/ready  ## compile requirements.txt and requirements-dev.txt anew, with the newest releases
	$(COMPILE) --upgrade requirements.in -o requirements.txt
	$(COMPILE) --upgrade -c requirements.txt requirements-dev.in -o requirements-dev.txt

clean:  ## remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --no-deps: the lock names everything already, and label-studio-ml's own pins of 2021 must not be resolved.
$(VENV)/ready: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -r requirements.txt -r requirements-dev.txt
	touch $@
