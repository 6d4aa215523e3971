# One command per task; each does its own set-up (.ci/setup.sh). `make help` lists them.

PYTHON ?= python3
ARGS ?=
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo test build debug debug-test asan asan-test lint bench clean

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: ## three shop nodes and the whole chain in front, on 127.0.0.1:8080 (ARGS="--seconds 60")
	@.ci/setup.sh demo
	@.venv/bin/python -m edge demo $(ARGS)

test: ## the whole test suite (ARGS="-k name" for a part)
	@.ci/setup.sh test
	@.venv/bin/python -m pytest -q $(ARGS)

build: ## compile ext/ in place
	@.ci/setup.sh demo

debug: ## compile ext/ in place with live-object counts; `make build` goes back
	@EDGE_DEBUG=1 .ci/setup.sh demo

debug-test: ## the tests against a debug build in build/debug-tree
	@.ci/setup.sh test
	@.ci/tree.sh debug $(ARGS)

asan: ## the tests against a sanitizer build in build/asan-tree
	@.ci/setup.sh test
	@.ci/tree.sh asan $(ARGS)

asan-test: asan

lint: ## ruff, cython-lint, mypy --strict
	@.ci/setup.sh lint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	PATH="$(CURDIR)/.venv/bin:$$PATH" cython-lint ext  # it calls pycodestyle by name
	.venv/bin/mypy --strict edge

bench: ## side by side with nginx, HAProxy and Varnish
	@.ci/setup.sh bench
	@.venv/bin/python loadtests/side_by_side.py $(ARGS)

clean: ## remove everything that was built or installed here
	rm -rf build dist .venv *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	find ext -name '*.so' -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
