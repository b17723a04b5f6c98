# `make help` lists the targets: each has a `##` comment.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PYTEST := $(BIN)/pytest -q

.PHONY: help up reload down clean logs status demo bench images test lint unit simulate soak model contract api stack chaos clean-venv
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: ## Build what is missing, start the stack, initialise and unseal it
	@scripts/up

reload: ## Give HAProxy its file as it is now, without losing a request
	@scripts/reload

down: ## Stop the stack; the data stays
	@scripts/down

clean: ## Remove all that the stack made, its data and keys too
	@scripts/clean

logs: ## Follow the logs of all services
	@scripts/compose logs --follow --tail 50

status: ## Show each node's state, who is active, since when and why
	@scripts/status

demo: ## Take the active node away in five ways, under load, and show what clients see
	@scripts/demo

bench: $(STAMP) ## Measure failover beside OpenBao's, RUNS=20 of each fault, on stacks of its own
	@scripts/bench

images: ## Build the images that are missing or out of date
	@scripts/images

$(STAMP): app/requirements-dev.txt app/pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r app/requirements-dev.txt
	touch $@

# The tiers, quick ones first; `make test` runs all of them and stops at the first that fails.
test: lint unit simulate model contract api stack ## Run every check and every test tier
	@echo "make test: every check and every tier passed"

lint: $(STAMP) ## Format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd app && ../$(BIN)/lint-imports ../.importlinter

unit: $(STAMP) ## Test the parts, each by itself
	$(PYTEST) -n 2 tests/unit

simulate: $(STAMP) ## Play seeds of faults: the protocol alone, then whole nodes in virtual time
	$(PYTEST) -n 2 tests/simulation tests/virtual

soak: $(STAMP) ## Play further seeds of whole nodes; SOAK="--minutes 30" or SOAK="--seeds 10000"
	cd tests && ../$(BIN)/python -m virtual.soak $(SOAK)

model: $(STAMP) ## Check the Promela model of the lock with spin, and its mutants
	$(PYTEST) tests/model

contract: $(STAMP) ## Hold memory, SQLite and three real Consul servers to one contract
	$(PYTEST) tests/contract

api: $(STAMP) ## Judge the API with hvac, the bao command line and OpenBao beside it
	$(PYTEST) tests/api

stack: $(STAMP) ## Test images, Compose and the running stack with faults; needs Docker
	$(PYTEST) tests/stack -m "not chaos"

chaos: $(STAMP) ## Play every fault on a stack of its own and write a report; CHAOS="--seed 2 --minutes 30"
	@scripts/chaos $(CHAOS)

clean-venv: ## Remove the development environment
	rm -rf $(VENV)
