# The same targets serve a person, README and CI.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: help serve install dev test test-slow test-trt test-olympe check bench clean

help:
	@echo "make serve   install the base package (no torch), open the ground station on the simulator"
	@echo "make test    install the development set, run the tests"
	@echo "make test-slow, make test-trt, make test-olympe   the long tests; TensorRT graphs built"
	@echo "             for an RTX 30 on the CPU; Parrot's SDK on loopback"
	@echo "make check   lint, formatting, types, import direction"
	@echo "make bench   engine, update and reference times"
	@echo "make clean   remove the virtual environment"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and f"Python {v[0]}.{v[1]} found: 3.10 or newer is needed, as make PYTHON=python3.12 serve")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.stamp-base: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.stamp-dev: $(BIN)/python pyproject.toml constraints-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-dev.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints-dev.txt -e '.[dev]'
	@touch $@ $(VENV)/.stamp-base

install: $(VENV)/.stamp-base

dev: $(VENV)/.stamp-dev

serve: install
	$(BIN)/mlkd serve --source simulator --open $(ARGS)

test: dev
	$(BIN)/python -m pytest $(ARGS)

test-slow: dev
	$(BIN)/python -m pytest -m slow $(ARGS)

# Every graph parsed and built ahead of time for SM86 by TensorRT for RTX, on the CPU.
test-trt: dev
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[trt-check]'; then \
		$(BIN)/python -m pytest tests/exporter/test_tensorrt.py $(ARGS); \
	else \
		echo "NOT RUN: tensorrt-rtx cannot be installed here; no graph was built for SM86"; \
	fi

# The real Parrot SDK against a drone on loopback; Linux x86-64, Python 3.10 to 3.12.
test-olympe:
	@test -x $(VENV)-olympe/bin/python || $(PYTHON) -m venv $(VENV)-olympe
	@if $(VENV)-olympe/bin/python -m pip install --quiet --disable-pip-version-check -e '.[olympe]' pytest pytest-timeout hypothesis; then \
		$(VENV)-olympe/bin/python -m pytest tests/olympe -m olympe $(ARGS); \
	else \
		echo "NOT RUN: Parrot's SDK cannot be installed here; nothing was tried against it"; \
	fi

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: dev
	$(BIN)/mlkd bench $(ARGS)

clean:
	rm -rf $(VENV)
