# Every target first makes or refreshes the part of the virtual environment it needs.

PYTHON ?= $(firstword $(foreach python,python3.11 python3,$(shell \
	$(python) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(python))))
REQUIRE_PYTHON = $(if $(PYTHON),,$(error no Python 3.11 or newer found; install one or set PYTHON))

VENV := .venv
BIN := $(VENV)/bin

# Tests often wait: for a disk, a server, another process. So there may be more of them at a time than processors.
TEST_WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) \* 3 / 2 + 1)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.PHONY: help demo api test coverage soak torture check bench mutants docs constraints clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1:\2/p' $(MAKEFILE_LIST) | tr ':' '\t' | expand -t 20

demo: $(VENV)/examples.stamp ## Run the bank demo
	@$(BIN)/python examples/bank_demo.py

api: $(VENV)/http.stamp $(VENV)/postgres.stamp ## Serve the bank on port 8080, from the store that STORE names, or else bank.db
	@$(BIN)/python -m examples.bank_api --store '$(or $(STORE),bank.db)'

test: $(VENV)/dev.stamp ## Run all tests
	@$(BIN)/pytest --numprocesses=$(TEST_WORKERS)

coverage: $(VENV)/dev.stamp ## Run all tests and measure what they cover, which takes half as long again
	@$(BIN)/pytest --numprocesses=$(TEST_WORKERS) --cov

soak: $(VENV)/dev.stamp ## Run the tests that take long, for an hour or so
	@$(BIN)/pytest --numprocesses=$(TEST_WORKERS) -m soak

torture: $(VENV)/dev.stamp ## Kill processes that use a new SQLite store for ten minutes, and judge it
	@mkdir -p build && rm -rf build/torture.db*
	@$(BIN)/python -m esbank torture build/torture.db --seconds $(or $(SECONDS),600)

check: docs ## Run the linters, type checkers, documented examples and wheel check
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --quiet --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest --quiet README.md docs src
	$(BIN)/python scripts/check_wheel.py

bench: $(VENV)/bench.stamp ## Run the benchmarks and keep what they measure in docs/performance
	@$(BIN)/python -m benchmarks --write docs/performance

mutants: $(VENV)/mutants.stamp ## Change the code in small ways and see whether the tests notice
	@$(BIN)/python -m scripts.mutants $(PART) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED)) \
		$(if $(WORKERS),--workers $(WORKERS)) $(if $(AGAIN),--again)

docs: $(VENV)/dev.stamp ## Build the documentation into build/docs
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --nitpicky docs build/docs

constraints: ## Pin the newest versions of all dependencies in constraints.txt
	$(REQUIRE_PYTHON)@$(PYTHON) -m venv --clear build/constraints
	@build/constraints/bin/pip install --quiet --editable '.[bench,mutants]'
	@{ echo '# Everything `make` installs. Refresh with `make constraints`.'; \
		build/constraints/bin/pip freeze --exclude-editable; } > constraints.txt

clean: ## Remove everything the other targets made
	rm -rf $(VENV) build .coverage .coverage.* .hypothesis .*_cache

$(BIN)/python:
	$(REQUIRE_PYTHON)@$(PYTHON) -m venv $(VENV)

$(VENV)/%.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing esbank[$*] into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[$*]' --constraint constraints.txt
	@touch $@
