# A few words run everything; CI calls only these. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE
export OMP_WAIT_POLICY := PASSIVE
BIN := .venv/bin

.PHONY: help install run stop test test-quick faults check format lock sbom audit bench clean

help: ## list these words
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: ## install into .venv from the hashed locks
	@infra/install.sh

run: install ## install, run the whole lifecycle of co2, leave a live endpoint, show the loop once
	@$(BIN)/aiprime up --run co2 --show

stop: ## stop every process that `make run` started
	@if [ -x $(BIN)/aiprime ]; then $(BIN)/aiprime down; fi

test: install ## install and pass all tests
	@$(BIN)/python -m pytest -n 2 --dist loadgroup tests

test-quick: install ## the tests of under three minutes
	@$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow" tests

faults: install ## break on purpose what the fault matrix names (hours; one row: make faults ROW=24), and write docs/track-record.md
	@export AIPRIME_TRACK=docs/track-record AIPRIME_ROUNDS=20 AIPRIME_STORM=1000; \
	$(BIN)/python -m pytest -n 2 --dist loadgroup --faults $(or $(ROW),all) tests || failed=1; \
	$(BIN)/python -m benchmarks.track_record; exit $${failed:-0}

check: install ## format, lint, types, layers, and that every workload loads
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .
	@$(BIN)/basedpyright --level error
	@$(BIN)/lint-imports
	@$(BIN)/dg check defs

format: install ## write the code the way `make check` wants it
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
	@$(BIN)/python -m assets.spec > docs/guide/workload.schema.json

lock: ## resolve the locks anew (needs uv)
	@python3.11 -m infra.locks.compile

sbom: install ## write build/sbom.json: every package of the environment (CycloneDX)
	@$(BIN)/python -m infra.sbom build/sbom.json

audit: install ## ask a database of advisories about every package; red where anything was not asked
	@$(BIN)/python -m infra.audit

clean: stop ## stop, and delete the state and the environment (asks first)
	@read -p "Delete .aiprime (models, ledger, MLflow), data/store and .venv? [y/N] " a; [ "$$a" = y ] && rm -rf .aiprime .venv data/store dvc.lock
