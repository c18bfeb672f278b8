# petset: `make demo` shows it, `make check` and `make test` prove it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check format bench clean

demo: $(VENV)/installed
	$(BIN)/petset demo

test: $(VENV)/developing
	$(BIN)/python -m pytest tests --numprocesses 2 --dist loadgroup

check: $(VENV)/developing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/unit tests/contract

format: $(VENV)/developing
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/developing
	for each in startup kubia pods api_server dns network leaks streams; do $(BIN)/python -m benchmarks.$$each; done

# Bytecode is compiled at install: without it every process of Ray compiles Ray again (docs/architecture.md).
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/developing: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
