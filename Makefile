# `make tour` and `make test` first set up what they need in .venv (quick when nothing changed), then do their job.

PYTHON ?= python3
PEERS ?= yes
VENV := .venv
RUN := $(VENV)/bin/python -m
READY := $(VENV)/.ready
PEERS_READY := $(VENV)/.peers
ENVIRONMENT := $(READY) $(if $(filter yes,$(PEERS)),$(PEERS_READY))

.PHONY: help tour test lint types rooms bench peers hooks clean

help:
	@echo "make tour    see what wengert does: five ways to a derivative, a Wengert list, a network that learns"
	@echo "make test    lint, types, room order and tests"
	@echo "make bench   time and check the engine and the compiler beside their peers"
	@echo "make hooks   run the checks before each commit (pre-commit)"
	@echo "make clean   remove .venv and caches"
	@echo "PEERS=no     do not install PyTorch, JAX, autograd, MyGrad, CasADi and Numba to compare with"

tour: $(READY)
	@$(VENV)/bin/wengert tour $(ARGS)

# pytest comes last, so that its closing line is the last one printed.
test: $(ENVIRONMENT) lint types rooms
	$(RUN) pytest -q -n 2

lint: $(READY)
	$(RUN) ruff check
	$(RUN) ruff format --check

types: $(READY)
	$(RUN) mypy

rooms: $(READY)
	$(VENV)/bin/lint-imports

bench: $(ENVIRONMENT)
	$(VENV)/bin/python benchmarks/eager.py
	$(VENV)/bin/python benchmarks/compiled.py --curves --json bench.json --plot bench.png $(ARGS)

hooks: $(READY)
	$(RUN) pre_commit install

peers: $(PEERS_READY)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("wengert needs Python 3.11 or newer; this is %s. Name another one: make PYTHON=…" % sys.version.split()[0])'
	@echo "Setting up $(VENV) …"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) pip install --quiet --upgrade 'pip>=25.1'  # the first pip that reads dependency groups
	@$(RUN) pip install --quiet --editable '.[tour,jit]' --group test
	@touch $@

# Peers are there to compare with; without them wengert and its tests run all the same.
$(PEERS_READY): $(READY)
	@echo "Adding PyTorch, JAX, autograd, MyGrad, CasADi and Numba to compare with: 1 GB or more (PEERS=no leaves them out) …"
	@$(RUN) pip install --quiet --group peers --group bench || \
	  echo "NOTE: not all systems to compare with could be installed here; what compares with them is skipped." >&2
	@touch $@
