# `make` lists the targets. Everything runs in .venv, which the first target that needs it sets up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= tests/unit tests/integration
# Tests at a time: most of them wait more than they work.
JOBS ?= 2
OR_NONE := || [ $$? = 5 ]
COMPILE := $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--override overrides.txt
# The pinned NumPy has wheels for these, and for none later.
FITS := -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
VENV_FITS := $(BIN)/python $(FITS) 2>/dev/null

.PHONY: help run test check e2e lint types format lock clean

help:  ## list the targets
	@sed -nE 's/^([a-z0-9]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: $(VENV)/ready  ## Label Studio, Redis, backend and worker on this machine, with a sample project
	@$(BIN)/python -m deploy.stack

test: $(VENV)/ready  ## unit and integration tests; brings its own Redis and LLM server
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not alone" $(TESTS) $(OR_NONE)
	$(BIN)/python -m pytest -m alone $(TESTS) $(OR_NONE)

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

# A virtual environment whose Python does not fit, or is gone, is made anew.
ifneq ($(shell $(VENV_FITS) && echo it fits),it fits)
.PHONY: $(VENV)/ready
endif

# --no-deps: the lock names everything already, and label-studio-ml's own pins of 2021 must not be resolved.
$(VENV)/ready: requirements.txt requirements-dev.txt
	@$(VENV_FITS) || $(PYTHON) $(FITS) 2>/dev/null || { \
		echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is none of them ($$($(PYTHON) --version 2>&1)):" \
			"name one that is, as in make $(MAKECMDGOALS) PYTHON=python3.13" >&2; exit 1; }
	@$(VENV_FITS) || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -r requirements.txt -r requirements-dev.txt
	touch $@
