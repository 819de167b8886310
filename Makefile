# Two commands set everything up on a new machine: `make demo` and `make test`.
export PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help install develop demo test check format bench lock clean

help: ## list these targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

install: ## make .venv with the command line, MLflow and scikit-learn
	@requirements/sync.sh demo

develop: install ## add what the tests and checks need
	@requirements/sync.sh dev

demo: install ## the main job: from a registered model to a healthy container
	@$(BIN)/python -m cannery demo --work demo/work

test: develop ## every test; those of Docker, Podman and the registry need these programs
	@$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: develop ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: develop ## let ruff rewrite the sources
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: develop ## measure beside the peers
	@$(BIN)/python benchmarks/run.py

lock: develop ## remake the hash-pinned locks
	@requirements/lock.sh

clean: ## remove what the demo made
	@rm -rf demo/work
