# make demo    train and show a small model
# make test    the whole test suite
# make test-long   outputs of all published architectures; ten minutes of random hostile files,
#                  whose counts are kept in tests/security/fuzz.txt; 200 trainings that are killed
# make check   format, lint, types, import contracts
# make docs    what Lamina has of Keras: docs/compatibility.md, and the record that tests hold
# make bench   speed, side by side with the peers, on a machine that does nothing else
#              (BENCH=--quick: six minutes of it; BENCH=--noisy: look, record nothing;
#              BENCH="--quick --against REV": this checkout beside that commit)
#
# make test-clients   KerasTuner, KerasHub, SciKeras, Keras RS, BayesFlow: on Keras, and on Lamina
#                     (CLIENTS=keras_hub: one of them; CLIENTS=--accept: write docs/clients.md)
#
# make test-data   the tests that need PyTorch, TensorFlow, grain, datasets, pandas and polars
#                  (several GB on Linux, where PyTorch's wheel brings the CUDA libraries)
#
# Each target first makes a virtual environment ($(VENV); $(DATA_VENV) for test-data,
# $(CLIENTS_VENV) for test-clients) when there is none or when pyproject.toml or constraints.txt
# changed. PYTHON, VENV, DATA_VENV, CLIENTS_VENV and JOBS can be set.

PYTHON ?= python3
VENV ?= .venv
DATA_VENV ?= .venv-data
CLIENTS_VENV ?= .venv-clients
JOBS ?= 2

# Tests that run thousands of small programs once each. They compare numbers, which are the same
# however well XLA optimizes; the others run with XLA's defaults, as users do.
NUMBERS := tests/applications tests/behaviour tests/differential tests/distillation tests/faults \
  tests/golden tests/host_layers tests/laws tests/lowering tests/ops tests/programs tests/property \
  tests/saving tests/security tests/training tests/utils tests/wrappers tests/test_docs.py
# Tests that need eight devices.
DEVICES := tests/distribution
QUICK := --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true \
  --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup
STAMP := $(VENV)/.installed
DATA_STAMP := $(DATA_VENV)/.installed
CLIENTS_STAMP := $(CLIENTS_VENV)/.installed

.PHONY: demo test test-long check bench docs test-data test-clients

demo: $(STAMP)
	$(BIN)/python examples/demo.py

test: $(STAMP)
	XLA_FLAGS="$$XLA_FLAGS $(QUICK)" $(PYTEST) $(NUMBERS)
	XLA_FLAGS="$$XLA_FLAGS $(QUICK)" $(PYTEST) $(DEVICES)
	$(PYTEST) $(addprefix --ignore=,$(NUMBERS) $(DEVICES))

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

test-long: $(STAMP)
	XLA_FLAGS="$$XLA_FLAGS $(QUICK)" $(PYTEST) -m long
	PYTHONPATH=.:src nice $(BIN)/python -m tests.security.fuzz --seconds 600 \
	  --record tests/security/fuzz.txt

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(STAMP)
	$(BIN)/python -m tools

test-data: $(DATA_STAMP)
	$(DATA_VENV)/bin/python -m pytest -q tests/data_sources

test-clients: $(CLIENTS_STAMP)
	PYTHONPATH=.:src XLA_FLAGS="$$XLA_FLAGS $(QUICK)" \
	  $(CLIENTS_VENV)/bin/python -m tests.clients $(CLIENTS)

$(STAMP): EXTRA := dev
$(DATA_STAMP): EXTRA := test-data
$(CLIENTS_STAMP): EXTRA := test-clients
$(CLIENTS_STAMP): ALONE := keras-hub==0.32.0  # what it asks for includes all of TensorFlow
$(STAMP) $(DATA_STAMP) $(CLIENTS_STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Lamina needs Python 3.11 or newer, and '$(PYTHON)' is not." \
	    "Choose another: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRA)]'
	$(if $(ALONE),$(@D)/bin/python -m pip install --quiet --no-deps $(ALONE))
	@touch $@
