# Set-up happens once: stamp files below .venv remember what is installed.
# Works with nothing but make, git and Python 3.11 or newer; uv is fetched into .venv for speed.

.DEFAULT_GOAL := help
SHELL := /bin/bash -euo pipefail

PYTHON ?= python3
WORKERS ?= 2
REPO ?= examples/repo
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# Thousands of processes import the same modules: what is compiled once halves their start.
unexport PYTHONDONTWRITEBYTECODE

FAST := $(wildcard tests/unit tests/properties tests/contract)

# uv does not read pip's configuration: where only pip knows the way to packages, pip does it.
define install
	@$(PY) -m uv pip install --quiet --python $(PY) $(1) 2>/dev/null \
	  || $(PY) -m pip install --quiet --no-input $(1)
endef
PROJECT := --no-deps --no-build-isolation -e .

.PHONY: help up test test-unit thorough fuzz test-kubernetes test-bed matrix chaos bench soak screenshots lint format check coverage requirements clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --embedded: its own server. And no profile or key of the user's, whole or broken, comes near it.
FORGET = $$(env | sed -nE 's/^((PREFECT|RECONCILER_API)_[A-Z0-9_]*)=.*/-u \1/p') PREFECT_PROFILES_PATH=$(abspath $(VENV))/no-profiles.toml

up: $(VENV)/.server ## install, then run examples/repo with an embedded Prefect server
	@env $(FORGET) $(BIN)/reconciler up --embedded $(REPO)

test: $(VENV)/.dev test-bed ## all tests, real Prefect 2.20 and 3.x servers included
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

test-unit: $(VENV)/.dev ## the fast tests, no servers (below 30 s)
	$(BIN)/pytest -n $(WORKERS) -m "not prefect and not slow" $(PYTEST_ARGS) $(FAST)

thorough: $(VENV)/.dev test-bed ## all tests, with faults at every place instead of at some (hours)
	RECONCILER_THOROUGH=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

fuzz: $(VENV)/.dev ## search for inputs that break us, 60 s for each target, or SECONDS_EACH
	for each in $$($(PY) -c 'from tests.fuzz.targets import TARGETS; print(*TARGETS)'); do \
	  $(PY) -m tests.fuzz $$each -max_total_time=$(or $(SECONDS_EACH),60) -max_len=4096 2>&1 | tail -1; done

test-kubernetes: $(VENV)/.dev test-bed ## all that runs on the real Kubernetes cluster (built once, some minutes)
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup -k "kubernetes" $(PYTEST_ARGS) tests/contract tests/integration

test-bed: $(VENV)/.dev
	@$(PY) -c 'from tests.testbed.kubernetes_build import build_in_background as build; build()'
	@$(PY) -m tests.testbed.environments

matrix: $(VENV)/.dev test-bed ## every infrastructure type through every ending, as a table in docs/
	@mkdir -p build docs/infrastructure
	code=0; $(BIN)/pytest -n $(WORKERS) --dist loadgroup --junitxml build/matrix.xml $(PYTEST_ARGS) tests/contract/test_matrix.py || code=$$?; \
	  $(PY) -m tests.contract.table build/matrix.xml docs/infrastructure/matrix.md; exit $$code

CHAOS := tests/integration/test_postgres.py tests/e2e/test_clock_jumps.py tests/e2e/test_full_disk.py tests/unit/engine/test_crash.py tests/unit/agent/test_crash.py tests/integration/test_machine.py \
  tests/integration/test_engine_faults.py tests/integration/test_engine_core.py tests/integration/test_renames.py \
  tests/integration/test_kind_block_type.py tests/integration/test_agent_crashes.py tests/integration/test_agent_runs.py \
  tests/e2e/test_faults_kill.py tests/e2e/test_faults_answers.py tests/e2e/test_replicas.py

chaos: $(VENV)/.dev test-bed ## break everything at every place, into docs/reliability.md (an hour)
	@mkdir -p build
	code=0; RECONCILER_THOROUGH=1 $(BIN)/pytest -n $(WORKERS) --dist loadgroup --junitxml build/chaos.xml $(PYTEST_ARGS) \
	  -k "crash or kill or fault or spoilt or machine or replicas or applies_at_once or interrupted or survives or whatever or crashes or clock or disk" \
	  $(CHAOS) || code=$$?; $(PY) -m tests.testbed.reliability build/chaos.xml docs/reliability.md; exit $$code

bench: $(VENV)/.dev test-bed ## measure beside Prefect's own tools and bare floors, into docs/benchmarks.md (an hour)
	$(PY) -m benchmarks $(BENCH)

soak: $(VENV)/.dev test-bed ## a service at work for thousands of edits and runs, into docs/soak.md (an hour)
	$(PY) -m benchmarks.soak $(SOAK)

screenshots: $(VENV)/.dev test-bed ## pictures of the dashboard, in docs/images/
	RECONCILER_SCREENSHOTS=docs/images $(BIN)/pytest -k accessible tests/e2e/test_dashboard.py

lint: $(VENV)/.dev ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## put the code in form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One commit runs one half of the pairs, the next one the other.
check: lint test-bed ## what CI runs: lint, then all tests, those on both Prefect versions on one of them by turns
	turn=$$(git rev-list --count HEAD 2>/dev/null || echo 0); \
	  $(BIN)/pytest -n $(WORKERS) --dist loadgroup --by-turns $$turn $(PYTEST_ARGS)

coverage: $(VENV)/.dev test-bed ## all tests, and how much of the code they reach
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term $(PYTEST_ARGS)

requirements: $(VENV)/.dev ## compile the pinned requirement files anew
	cd requirements && for each in prefect2 prefect3 moto plot; do $(COMPILE) $$each.in -o $$each.txt; done
	cd requirements && $(COMPILE) prefect2-collections.in -c prefect2.txt -o prefect2-collections.txt
	cd requirements && $(COMPILE) build.in -o build.txt
	cd requirements && $(COMPILE) ../pyproject.toml --all-extras -c build.txt -o dev.txt
	cd requirements && $(COMPILE) ../pyproject.toml --extra all -c dev.txt -o all.txt
	cd requirements && $(COMPILE) ../pyproject.toml --extra server -c dev.txt -o server.txt
	cd requirements && $(COMPILE) ../pyproject.toml -c dev.txt -o base.txt

COMPILE := $(abspath $(PY)) -m uv pip compile --quiet --universal --python-version 3.11 --upgrade \
  --generate-hashes --no-strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links

clean: ## remove environments, caches and build results
	rm -rf $(VENV) .venvs .reconciler dist build htmlcov .coverage* .*_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.build: requirements/build.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null
	@$(PY) -m pip install --quiet --no-input --no-deps --require-hashes -r requirements/build.txt
	@touch $@

$(VENV)/.server: $(VENV)/.build requirements/server.txt pyproject.toml
	@echo "installing (once) ..."
	$(call install,--no-deps --require-hashes -r requirements/server.txt)
	$(call install,$(PROJECT))
	@touch $@

$(VENV)/.dev: $(VENV)/.build requirements/dev.txt pyproject.toml
	@echo "installing what tests need (once) ..."
	$(call install,--no-deps --require-hashes -r requirements/dev.txt)
	$(call install,$(PROJECT))
	@touch $@
