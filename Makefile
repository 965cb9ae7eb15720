# Set-up, study and checks. The environment is made once and remade only when the lock changes.

VENV := .venv
LOCK := requirements.lock
STAMP := $(VENV)/$(LOCK)
SLURM := $(VENV)/slurm
SLURM_LOCK := slurm.lock
COMMAND := $(VENV)/bin/hakd
BIN := $(CURDIR)/$(VENV)/bin
# `python -m` rather than the tools' own scripts: those hold the path of the checkout and break when it is moved.
RUN := PATH="$(BIN):$$PATH" "$(BIN)/python" -m
CORES ?= all
UP_TO_DATE := cmp -s $(LOCK) $(STAMP) && "$(BIN)/python" -c "" 2>/dev/null

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help env slurm study test check lint format lock system-deps clean distclean

help:  ## show this list (the default)
	@echo "make TARGET, with the targets"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

env: $(STAMP) $(COMMAND)  ## make the environment .venv from requirements.lock (PYTHON=... chooses the interpreter)

# An environment whose interpreter has gone (a system upgrade) is made again although its stamp is there.
ifneq ($(shell test -x $(VENV)/bin/python && echo there),there)
.PHONY: $(STAMP)
endif

# The stamp is a copy of the lock that was installed, written last: whatever stops the recipe, the next run starts again.
# A lock that is only newer, as after a fresh checkout of the same version, installs nothing.
$(STAMP): $(LOCK)
	@if $(UP_TO_DATE); then touch $@; exit 0; fi; \
	set -e; \
	python="$(PYTHON)"; \
	for found in $${python:-python3.11 python3.12 python3.13 python3}; do \
	    if "$$found" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	        fits="$$found"; break; \
	    fi; \
	done; \
	if [ -z "$${fits:-}" ]; then \
	    echo "make env: no Python of at least 3.11 with the venv module among: $${python:-python3.11 python3.12 python3.13 python3}." >&2; \
	    echo "Install Python 3.11 (on Debian also python3.11-venv) or name one: make env PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$fits" --version) from $(LOCK): about two minutes and 7 GB"; \
	"$$fits" -m venv --clear $(VENV); \
	"$(BIN)/python" -m pip install -q --no-input --disable-pip-version-check --require-hashes -r $(LOCK); \
	cp $(LOCK) $@

# The project is not installed in its own environment: the command finds the checkout that it lies in, wherever that moves.
$(COMMAND): $(STAMP)
	@printf '%s\n' '#!/bin/sh' '# Written by make env.' \
	    'bin=$$(dirname -- "$$(readlink -f -- "$$0")")' \
	    'PYTHONPATH="$${bin%/*/*}$${PYTHONPATH:+:$$PYTHONPATH}" exec "$$bin/python" -P -m hakd "$$@"' > $@
	@chmod +x $@

slurm: $(SLURM)/$(SLURM_LOCK)  ## make .venv/slurm: Snakemake's plugin for Slurm (docs/cluster.md)

# In a folder of its own, since every snakemake command imports each plugin that it finds.
$(SLURM)/$(SLURM_LOCK): $(SLURM_LOCK) | env
	@if cmp -s $< $@; then touch $@; exit 0; fi; \
	set -e; \
	rm -rf $(SLURM); \
	"$(BIN)/python" -m pip install -q --no-input --disable-pip-version-check --no-deps --require-hashes \
	    --target $(SLURM) -r $<; \
	cp $< $@

study: env  ## run the built-in study: results/pareto.pdf, staircases.pdf, summary.csv (CORES=all)
	$(RUN) snakemake --cores $(CORES)

test: lint check  ## all checks: linters, types, then the tests

# Tests that time something come last and alone; the others share the cores, those of one xdist_group one process.
check: env slurm  ## the tests without the linters
	$(RUN) pytest -n logical --maxprocesses 4 --dist loadgroup -m "not alone"
	$(RUN) pytest -m alone

lint: env  ## formatting, style, types, spelling and the workflow's own linter
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) codespell_lib .
	$(RUN) snakefmt --check Snakefile rules
	$(RUN) snakemake --lint

format: env  ## rewrite the sources as `make lint` wants them
	$(RUN) ruff check --fix-only .
	$(RUN) ruff format .
	$(RUN) snakefmt Snakefile rules

COMPILE := $(RUN) uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-header $(if $(UPGRADE),--upgrade) -q

lock: env  ## compute requirements.lock and slurm.lock from pyproject.toml (needs a registry; UPGRADE=1 takes newer releases)
	$(COMPILE) pyproject.toml --group dev -o $(LOCK)
	$(COMPILE) --group slurm --no-deps -o $(SLURM_LOCK)

# One a line, sorted. chromium opens the page of a study; gcc compiles the kernels of csr and bitmap; iproute2 and
# nftables make and spoil the network of the test boards, libfaketime their clocks; libclblast1 and pocl-opencl-icd run
# OpenCL on the CPU; mmdebstrap and qemu-user-static make boards of another architecture; munge and slurm-wlm are a
# cluster.
SYSTEM_PACKAGES := \
    chromium \
    gcc \
    iproute2 \
    libc6-dev \
    libclblast1 \
    libfaketime \
    mmdebstrap \
    munge \
    nftables \
    openssh-client \
    openssh-server \
    pocl-opencl-icd \
    qemu-user-static \
    slurm-wlm

APT_INSTALL := DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(SYSTEM_PACKAGES)

# The lists of packages are fetched only where those that are here do not do.
system-deps:  ## Debian packages of the tests of boards, clusters and pages (root only)
	@[ "$$(id -u)" = 0 ] || { echo "make system-deps: only root can install packages" >&2; exit 1; }
	@command -v apt-get >/dev/null || { echo "make system-deps: knows Debian's apt-get only; install $(SYSTEM_PACKAGES)" >&2; exit 1; }
	@$(APT_INSTALL) >/dev/null 2>&1 || { apt-get update && $(APT_INSTALL); }

clean:  ## remove caches; the environment and all results stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove the environment, all results and measurements, and Snakemake's records too
	rm -rf $(VENV) results logs .snakemake .cache
