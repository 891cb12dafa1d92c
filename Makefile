# `make` alone lists the targets. Whatever a target needs is installed first, or named.

PYTHON ?= python3
PY := .venv/bin/python
REPLICAS ?=
BOOTSTRAP = PYTHONPATH= $(PYTHON) -m deploy.local.bootstrap
# Passed on as they are: make test ARGS="-k tiers -x" (pytest), make lock ARGS=--upgrade (pip-compile)
ARGS ?=
# Tests outside of tests/chaos that only `make chaos` runs, with the others of their files
LONG_ELSEWHERE = $(shell grep -rl --include='test_*.py' --exclude-dir=chaos 'pytest.mark.chaos' tests)

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench chaos fuzz up down keys lock \
        stop-rabbitmq start-rabbitmq stop-postgres start-postgres

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+( [a-z-]+)*:.*## / { printf "  make %-28s %s\n", $$1, $$2 }' Makefile

demo: ## the whole story against the sandbox, in the terminal
	@$(BOOTSTRAP) --servers
	@$(PY) -m deploy.local.demo

test: ## all tests, on a real RabbitMQ, PostgreSQL and the sandbox
	@$(BOOTSTRAP) --servers --tests
	@$(PY) -m tests.shards $(ARGS)

check: ## format, lint, types, import rules
	@$(BOOTSTRAP)
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@.venv/bin/lint-imports

bench: ## measurements, on this machine
	@$(BOOTSTRAP) --servers --tests
	@$(PY) -m pytest -m bench --show-capture=no --timeout=0 $(ARGS)

chaos: ## long runs with faults: killed processes, stopped servers, lost answers
	@$(BOOTSTRAP) --servers --tests
	@$(PY) -m pytest tests/chaos $(LONG_ELSEWHERE) --timeout=900 $(ARGS)

fuzz: ## a million webhooks at random, and thousands of AMQP messages (within the hour)
	@$(BOOTSTRAP) --servers --tests
	@FUZZ=long $(PY) -m pytest --timeout=3600 $(ARGS) \
		tests/webhook_gateway/test_any_webhook.py tests/shared/messaging/test_any_message.py

up: ## the system on this machine, without Docker (REPLICAS="billing-worker=2,token-service=2")
	@$(BOOTSTRAP) --servers
	@$(PY) -m deploy.local up --replicas "$(REPLICAS)"

down: ## stop it; the data stays in .run/
	@$(BOOTSTRAP)
	@$(PY) -m deploy.local down

stop-rabbitmq stop-postgres: ## stop one server of the running system
	@$(PY) -m deploy.local stop $(@:stop-%=%)

start-rabbitmq start-postgres: ## start it again
	@$(PY) -m deploy.local start $(@:start-%=%)

keys: ## fresh ENCRYPTION_KEYS and INDEX_KEYS, for .env
	@PYTHONPATH= $(PYTHON) -m deploy.local.credentials

format: ## rewrite the code as `make check` wants it
	@$(BOOTSTRAP)
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

LOCKED = CUSTOM_COMPILE_COMMAND="make lock" $(PY) -m piptools compile -q --allow-unsafe --generate-hashes \
	--no-emit-options --strip-extras $(ARGS)

lock: ## rewrite the lock files from pyproject.toml (ARGS=--upgrade: newest versions)
	@$(BOOTSTRAP)
	@$(LOCKED) --output-file=requirements.lock pyproject.toml
	@$(LOCKED) --extra=dev --constraint=requirements.lock --output-file=requirements-dev.lock pyproject.toml
