# Trade Portal: `make run` needs Python 3.11 or newer and nothing else; everything it installs stays in this folder.

PYTHON ?= python3
PY := .venv/bin/python
SOURCES := manage.py tradeportal trades tests benchmarks
# These choose a broker by themselves, so that the local one is not needed (run_portal looks at the AWS files as well).
AWS_CHOSEN := $(strip $(AWS_ENDPOINT_URL_SQS)$(AWS_ENDPOINT_URL)$(AWS_ACCESS_KEY_ID)$(AWS_PROFILE)$(AWS_DEFAULT_PROFILE)$(AWS_ROLE_ARN)$(AWS_WEB_IDENTITY_TOKEN_FILE)$(AWS_CONTAINER_CREDENTIALS_RELATIVE_URI)$(AWS_CONTAINER_CREDENTIALS_FULL_URI))
# Checks must not read or write what the portal itself keeps in var/.
CHECK_VAR := $(CURDIR)/.venv/checks
# An SQS that does not answer, with credentials that nobody has: no account is asked.
NO_SQS := AWS_ENDPOINT_URL_SQS=http://127.0.0.1:9 AWS_ACCESS_KEY_ID=none AWS_SECRET_ACCESS_KEY=none
PIP := -m pip install --quiet --disable-pip-version-check --require-hashes

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test lint types migrations deploy-check test-sqlite test-postgres chromium contract faults bench chaos lock clean
.DELETE_ON_ERROR:

help: ## list what make can do
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | while IFS='|' read -r name words; do printf '  make %-14s %s\n' "$$name" "$$words"; done

run: .venv/.run $(if $(AWS_CHOSEN),,.broker/.run) ## install what running needs, then run the portal (ARGS="--port 9000" for options)
	@exec $(PY) manage.py run_portal $(ARGS)

test: .venv/.dev .broker/.run chromium lint types migrations deploy-check test-sqlite test-postgres ## every check there is, on SQLite and PostgreSQL
	@echo "All checks passed."

lint: .venv/.dev ## style of code and templates
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m djlint --lint --quiet templates

types: .venv/.dev ## mypy
	TRADES_VAR_DIR=$(CHECK_VAR) $(PY) -m mypy

migrations: .venv/.dev
	TRADES_VAR_DIR=$(CHECK_VAR) $(PY) manage.py makemigrations --check --dry-run

deploy-check: .venv/.dev
	TRADES_VAR_DIR=$(CHECK_VAR) PRODUCTION=on ALLOWED_HOSTS=portal.example.com AWS_REGION=eu-west-1 $(NO_SQS) \
	SECRET_KEY="$$($(PY) -c 'import secrets; print(secrets.token_urlsafe(64))')" \
	$(PY) manage.py check --deploy --fail-level WARNING

test-sqlite: .venv/.dev .broker/.run ## all tests, on SQLite
	$(PY) -m pytest -n 2 --dist loadgroup $(ARGS)

test-postgres: .venv/.dev .broker/.run ## the tests that use the database, on PostgreSQL
	$(PY) -m tests.support.with_postgres pytest -n 2 --dist loadgroup -m "django_db and not browser" $(ARGS)

contract: .venv/.dev .broker/.run ## hold the contract of SQS FIFO against the model, the local broker and moto; CONTRACT_AWS=1: against AWS too
	@$(PY) -m tests.fifo.contract

faults: .venv/.dev ## run publishers, workers and operators under faults drawn from seeds, on SQLite and PostgreSQL (SEEDS=1000, ARGS="--seed 12")
	$(PY) -m tests.fifo.run --seeds $(or $(SEEDS),1000) $(ARGS)
	$(PY) -m tests.support.with_postgres tests.fifo.run --seeds $(or $(SEEDS),1000) $(ARGS)

bench: .venv/.dev .broker/.run ## measure reading, publishing and the worker on SQLite and PostgreSQL, its memory (COUNT=N), pages over few and many trades (PAGES_TRADES=N)
	$(PY) -m benchmarks.parse
	$(PY) -m benchmarks.consume $(ARGS)
	$(PY) -m tests.support.with_postgres benchmarks.consume $(ARGS)
	$(PY) -m benchmarks.publish
	$(PY) -m tests.support.with_postgres benchmarks.publish
	$(PY) -m benchmarks.memory --count $(or $(COUNT),20000)
	$(PY) -m benchmarks.payloads
	$(PY) -m benchmarks.upload_memory
	$(PY) -m benchmarks.large
	$(PY) -m benchmarks.parse --hostile
	$(PY) -m benchmarks.pages
	$(PY) -m tests.support.with_postgres benchmarks.pages

chaos: .venv/.dev .broker/.run ## kill workers, relays, PostgreSQL and connections for two minutes, then check every history (MESSAGES, SECONDS, SEED)
	$(PY) -m tests.chaos.run $(if $(MESSAGES),--messages $(MESSAGES)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

lock: .venv/.dev ## write the requirements*.txt anew from their .in files (ARGS=--upgrade for newer versions)
	for name in requirements requirements-dev requirements-broker; do \
	  $(PY) -m uv pip compile --quiet $(ARGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	    -o $$name.txt $$name.in || exit 1; \
	done

clean: ## remove what make installed and cached; the portal's data in var/ stay
	rm -rf .venv .broker .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments: a stamp file stands for "installed", so that nothing is installed twice for the same lock.

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Trade Portal needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1). Install one, or name it: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments. Install its venv module (Debian and Ubuntu: apt-get install python3-venv)."; exit 1; }
	@echo "Making $* with $$($(PYTHON) --version)."
	@$(PYTHON) -m venv $*

.venv/.run: requirements.txt | .venv/bin/python
	@echo "Installing what running needs; this takes a minute, once."
	@$(PY) $(PIP) -r requirements.txt
	@touch $@

# The tools join the same environment: requirements-dev.txt is locked to the very versions of requirements.txt.
.venv/.dev: requirements-dev.txt .venv/.run
	@echo "Installing the tools of the checks; this takes two minutes, once."
	@$(PY) $(PIP) -r requirements-dev.txt
	@touch $@

.broker/.run: requirements-broker.txt | .broker/bin/python
	@echo "Installing the local SQS broker; this takes a minute, once."
	@.broker/bin/python $(PIP) -r requirements-broker.txt
	@touch $@

chromium:
	@for name in chromium chromium-browser google-chrome google-chrome-stable; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Chromium for the browser tests."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium >/dev/null && exit 0; \
	fi; \
	echo "No Chromium: browser tests will be skipped (and fail where CI is set). Debian and Ubuntu: sudo apt-get install chromium."
