# make up     everything: install, PostgreSQL, Temporal, worker, gateway; Ctrl-C ends it
# make test   the tests, on the same real parts
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: up test search check proto bench bench-ml lock clean

up: $(INSTALLED)
	@exec $(BIN)/llm-im up

# On a busy machine real processes may be late: what fails is run once more, and its first failure shown. Five at most.
WHOLE := --dist loadfile --no-loadscope-reorder --reruns 1 --max-suite-reruns 5 --rerun-show-tracebacks

test: $(INSTALLED)
	@$(BIN)/pytest -n 3 $(WHOLE) --ignore tests/stories
	@exec $(BIN)/pytest -n 2 $(WHOLE) tests/stories

# The property tests with examples nobody has tried yet.
search: $(INSTALLED)
	@exec $(BIN)/pytest -n 2 --hypothesis-profile search -m hypothesis

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy app workflows activities workers clients/python/src tests
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python -m tests.support.protos --check

proto: $(INSTALLED)
	$(BIN)/python -m tests.support.protos

bench: $(INSTALLED)
	@exec $(BIN)/python -m tests.bench.main

bench-ml: $(INSTALLED)
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.ml

# Needs uv, in the venv or on the PATH.
lock:
	@PATH="$(BIN):$$PATH" uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

clean:
	rm -rf $(VENV) build *.egg-info clients/python/src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# Where the machine's Python comes without ensurepip, its own pip installs into the venv.
$(INSTALLED): requirements.lock pyproject.toml clients/python/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else \
		"Python 3.11 or newer is needed; name one: make up PYTHON=python3.12")'
	@echo "Installing into $(VENV); this is done once, and again when requirements.lock or pyproject.toml change."
	@set -e; \
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) >/dev/null 2>&1 || $(PYTHON) -m venv --without-pip $(VENV); \
	pip="$(BIN)/python -m pip"; $$pip --version >/dev/null 2>&1 || pip="$(PYTHON) -m pip --python $(BIN)/python"; \
	$$pip install --disable-pip-version-check --require-hashes -r requirements.lock; \
	$$pip install --disable-pip-version-check --no-deps --no-build-isolation -e . -e clients/python
	@touch $@
