# `make practice` and `make test` work in a fresh checkout: both build the
# environment first. VENV=path uses another one.
VENV ?= .venv
WORKDIR ?= runs/practice-$(shell date +%Y%m%d-%H%M%S)
# One timestamp per run, however often the recipe reads it.
WORKDIR := $(WORKDIR)
ROBOT_WORKDIR ?= $(subst runs/practice-,runs/robot-,$(WORKDIR))
MINUTES ?= 10
# 3.11 first: the published figures were measured with it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3 python; do \
  $$p -c 'import sys, venv; sys.exit(sys.version_info[:2] not in \
  ((3, 11), (3, 12)))' 2>/dev/null && echo $$p && break; done)
INSTALLED := $(VENV)/.installed

.PHONY: practice robot test benchmark lint format clean-venv

practice: $(INSTALLED)
	$(VENV)/bin/python -m experiments.practice --workdir=$(WORKDIR)

# VLA server, simulated arm, loop and learner on this machine; Ctrl-C ends all of it.
robot: $(INSTALLED)
	$(VENV)/bin/python -m experiments.robot_cell \
	  --workdir=$(ROBOT_WORKDIR) --minutes=$(MINUTES)

test: lint
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile

# PyTorch is only here, to compare with.
benchmark: $(INSTALLED)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r benchmarks/requirements-peers.txt
	$(VENV)/bin/python -m benchmarks.update_latency --peers --agents=8 \
	  --out=benchmarks/results/update_latency.jsonl
	$(VENV)/bin/python -m benchmarks.sim_throughput \
	  --out=benchmarks/results/sim_throughput.jsonl
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m benchmarks.control_latency \
	  --out=benchmarks/results/control_latency.jsonl

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(INSTALLED)
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean-venv:
	rm -rf $(VENV)

$(INSTALLED): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Python 3.11 or 3.12 is needed:' \
	  'none found on PATH. Install one, or name it with PYTHON=path.' >&2; \
	  exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps -e .
	touch $@
