# Everything runs from here, with the locked Python environment and the locked Node tools first on PATH.
# `make` alone lists the targets.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

export PATH := $(CURDIR)/.venv/bin:$(CURDIR)/node_modules/.bin:$(PATH)
# Ape keeps its nodes' configuration and process list here instead of in the home directory.
export APE_DATA_FOLDER := $(CURDIR)/.cache/ape
# ape-vyper 0.8.12 makes pydantic-settings complain about one of its settings at every start.
export PYTHONWARNINGS := ignore:Field 'import_remapping' has an incomplete definition
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NPM_CONFIG_UPDATE_NOTIFIER := false
export HARDHAT_DISABLE_TELEMETRY_PROMPT := true

# The tests of the contracts themselves that do not need a node and can run in titanoboa.
COVERAGE := tests/unit/market tests/unit/modules tests/unit/vault tests/unit/test_delegation.py tests/regression \
	tests/invariant/test_event_log.py tests/invariant/test_gap_safety.py tests/invariant/test_guarantees.py

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: env
env: .venv/requirements.lock ## Python environment in .venv, as locked

.venv/requirements.lock: requirements.lock
	$(PYTHON) -m venv .venv
	pip install -q --require-hashes -r requirements.lock
	cp requirements.lock $@

.PHONY: node
node: node_modules/.package-lock.json ## Anvil and Hardhat in node_modules, as locked

# Not `npm ci`: it insists that the lock also holds Anvil's binaries for other platforms, which the registry does not give
# everyone. This installs what the lock holds, by its hashes, and leaves the lock alone.
node_modules/.package-lock.json: package-lock.json
	npm install --no-save --ignore-scripts --no-audit --no-fund
	touch $@

# Forced: Ape looks at a contract's own file only, and would not see that a module it imports has changed.
.PHONY: compile
compile: env ## compile the contracts
	ape compile -f

.PHONY: demo
demo: compile ## settle the crash of March 2020 on Ape's own network; needs no Node
	ape run shock --scenario black-thursday-2020 --insurance 2000 --out out/demo --network ethereum:local:test

.PHONY: test
test: node lint compile ## lint, compile and run every test
	pytest -n auto --dist loadgroup

.PHONY: prove
prove: env ## prove the algebra of the settlement with z3, and print what each proof assumes and rules out
	python -m tests.proofs

.PHONY: campaign
campaign: env ## stateful runs, 100,000 steps, S1 to S4 and S8 checked after each; ten minutes
	PRORATA_RUNS=1150 PRORATA_STEPS=100 pytest -n auto --dist loadgroup tests/invariant/test_stateful.py

.PHONY: fuzz
fuzz: env ## random markets, every guarantee after every operation: make fuzz STEPS=10000000 SEED=1; resumes
	python -m tests.fuzz --steps $(or $(STEPS),1000000) --seed $(or $(SEED),1)

.PHONY: attack
attack: compile ## every known attack, searched for its largest profit, and the table of docs/threat-model.md; a quarter of an hour
	ape run attack --all --strikes 60 --out out/attacks
	python -m prorata.attacks.threats out/attacks/attacks.json

.PHONY: mutate
mutate: env ## change the contracts a little, 1,800 times; what the fast suite misses; hours, goes on if broken off
	nice python -m tests.mutation

.PHONY: gas
gas: compile ## measure gas, draw it, and show it beside the reviewed snapshot and the best peers
	PRORATA_GAS_DRIFT=allowed pytest -q -n 0 tests/gas > /dev/null
	python -m prorata.gas_plot
	python -m prorata.gas

.PHONY: gas-accept
gas-accept: ## make what `make gas` measured the reviewed snapshot
	python -m prorata.gas --accept

.PHONY: profile
profile: env ## where the gas of an operation goes: make profile OF=fill_open_live
	python -m prorata.profile $(OF)

# A call takes ten times as long as in pyrevm. What is done already, file by file, is not done again.
.PHONY: coverage
coverage: env ## which branches of the contracts the tests take, both ways; three quarters of an hour
	pytest -q -p tests.coverage.plugin -n auto --dist loadfile $(COVERAGE)
	python -m prorata.coverage

.PHONY: bench
bench: node compile ## how fast stress paths run: pyrevm, titanoboa, Ape on Anvil, numpy, two processes; leave it alone
	python -m prorata.stress.benchmark

.PHONY: sweep
sweep: node compile ## stressed markets by the thousand, and their page: make sweep PATHS=100000 SEED=1; resumes
	ape run sweep --paths $(or $(PATHS),3000) --seed $(or $(SEED),1) --on-anvil 5 --out out/sweep --resume

.PHONY: docs
docs: env ## draw the pictures in docs/ that show a rule
	python -m prorata.plots
	python -m prorata.attacks.defences

.PHONY: screenshots
screenshots: node compile ## pictures of the pages, for docs/; of the sweep that make sweep has written
	python -m tests.screenshots

.PHONY: replays
replays: env ## replay every published event, and write docs/replays.md
	ape run replay --all --out out/replays
	cp out/replays/replays.md docs/replays.md

.PHONY: compare
compare: env ## the same shocks under the known rules: write tables and picture of docs/compare.md; four minutes
	ape run compare --out out/compare
	python -m prorata.rules.page out/compare

.PHONY: walk-through
walk-through: node compile ## run every command of docs/walk-through.md and write what it prints under it; a minute
	python -m tests.walk_through

.PHONY: specification
specification: env ## write the tables of SPECIFICATION.md out of proofs and snapshots
	python -m tests.specification

.PHONY: lint
lint: env ## check style and types, and natrix on every contract and module
	ruff check .
	ruff format --check .
	mypy prorata scripts
	python -m prorata.contract_lint

.PHONY: lock
lock: ## resolve requirements.in into requirements.lock
	test -d .venv || $(PYTHON) -m venv .venv
	command -v uv > /dev/null || pip install -q uv
	uv pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		requirements.in -o requirements.lock

.PHONY: clean
clean: ## remove what the other targets made, except .venv and node_modules
	rm -rf .build .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache out
	find prorata scripts tests -name __pycache__ -prune -exec rm -rf {} +
