# `make help` lists the targets: each has a `##` comment.
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help up down clean logs status images test lint unit clean-venv
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: ## Build what is missing, start the stack, initialise and unseal it
	@scripts/up

down: ## Stop the stack; the data stays
	@scripts/down

clean: ## Remove all that the stack made, its data and keys too
	@scripts/clean

logs: ## Follow the logs of all services
	@scripts/compose logs --follow --tail 50

status: ## Show each node's state, who is active, since when and why
	@scripts/status

images: ## Build the images that are missing or out of date
	@scripts/images

$(STAMP): app/requirements-dev.txt app/pyproject.toml
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r app/requirements-dev.txt
	touch $@

test: lint unit ## Run every check and test tier

lint: $(STAMP) ## Format, lint, types, import directions
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd app && ../$(BIN)/lint-imports --config ../.importlinter

unit: $(STAMP) ## Run the test tiers that need no container
	$(BIN)/pytest

clean-venv: ## Remove the development environment
	rm -rf $(VENV)
