PYTHON ?= python3
# Another interpreter has a folder of its own: make test PYTHON=python3.13
VENV := $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin

# The tests start some hundred processes, and without it each would compile the connector again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test unit faults bench lint format lock clean

demo: $(VENV)/ready  ## Show the main job: sandbox, server and relay, and a shopper in a shop of each platform
	$(BIN)/connector demo $(ARGS)

test: $(VENV)/ready  ## All tests, on SQLite and on a real PostgreSQL
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

unit: $(VENV)/ready  ## A quick look, in under 40 seconds: SQLite only, no other process, no slow test, a tenth of the random examples
	$(BIN)/python -m pytest --unit -n auto --dist worksteal $(ARGS)

faults: $(VENV)/ready  ## Kill, restart and refuse everything at random: ARGS="--kills 200 --seed 7 --database sqlite"
	$(BIN)/python -m tests.faults.storm $(ARGS)

lint: $(VENV)/ready  ## Style, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/ready  ## Rates as ratios to a baseline of the same run; ARGS="mapping intake relay beside connections steady growth funnel size matching"
	$(BIN)/python -m tests.benchmarks.run $(ARGS)

format: $(VENV)/ready
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock:  ## Pin all dependencies with hashes, from pyproject.toml
	$(PYTHON) -m venv build/lock && build/lock/bin/pip install --quiet pip-tools
	build/lock/bin/pip-compile $(COMPILE) --output-file requirements.txt pyproject.toml
	build/lock/bin/pip-compile $(COMPILE) --extra dev --output-file requirements-dev.txt pyproject.toml
COMPILE := --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --no-header --upgrade

$(VENV)/ready: requirements-dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11 …" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf .venv .venv-* build *.egg-info
