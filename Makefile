# petset: `make demo` shows it, `make check` and `make test` prove it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where bytecode is forbidden, every process of every cluster compiles petset anew, and pytest every test.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test check chaos format bench clean

demo: $(VENV)/installed
	$(BIN)/petset demo

test: $(VENV)/developing
	$(BIN)/python -m pytest tests --numprocesses 2

check: $(VENV)/developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit tests/contract

# Every experiment of the library, in a short form, on a cluster of its own.
chaos: $(VENV)/installed
	home=$$(mktemp -d) && export PETSET_HOME=$$home && status=0; \
	$(BIN)/petset up chaos --detach --port 0 --disk-faults --ray-nodes 2 && \
	$(BIN)/petset chaos run --all --seed 1 --duration 6 --cluster chaos || status=$$?; \
	$(BIN)/petset down chaos --purge --yes; rm -rf $$home; exit $$status

format: $(VENV)/developing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/developing
	for each in startup kubia pods api_server dns network leaks streams; do $(BIN)/python -m benchmarks.$$each; done

# Bytecode is compiled at install: without it every process of Ray compiles Ray again (docs/architecture.md).
# setuptools warns of editable installs as such, in a block that reads like an error.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/developing: $(VENV)/installed
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
