# `make practice` and `make test` work in a fresh checkout: both build the
# environment first. VENV=path uses another one.
VENV ?= .venv
WORKDIR ?= runs/practice-$(shell date +%Y%m%d-%H%M%S)
# One timestamp per run, however often the recipe reads it.
WORKDIR := $(WORKDIR)
ROBOT_WORKDIR ?= $(subst runs/practice-,runs/robot-,$(WORKDIR))
MINUTES ?= 10
# TASK=charger practices another task; a robot measures joints in every task.
TASK ?=
PRACTICE_TASK := $(if $(TASK),--task=$(TASK))
# A simulated person demonstrates and helps on the two tasks whose VLA rarely
# succeeds, as in docs/results.md. PERSON= leaves them out.
HELP_MINUTES_screw := 1.5
HELP_MINUTES_zip_tie := 3
PERSON ?= $(if $(HELP_MINUTES_$(TASK)),--set=human.demo_steps=3000 \
  --set=human.help_minutes=$(HELP_MINUTES_$(TASK)))
ROBOT_TASK := $(if $(TASK),--task=$(TASK) --set=task.proprio=joints)
# 3.11 first: the published figures were measured with it.
find_python = $(shell for p in $(1) python3 python; do \
  $$p -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
  2>/dev/null && echo $$p && break; done)
PYTHON ?= $(call find_python,python3.11 python3.12 python3.13)
INSTALLED := $(VENV)/.installed

.PHONY: practice robot test test-newest arm-faults benchmark lint format \
  clean-venv

practice: $(INSTALLED)
	$(VENV)/bin/python -m experiments.practice --workdir=$(WORKDIR) $(PRACTICE_TASK) $(PERSON)

# VLA server, simulated arm, loop and learner on this machine; Ctrl-C ends all of it.
robot: $(INSTALLED)
	$(VENV)/bin/python -m experiments.robot_cell \
	  --workdir=$(ROBOT_WORKDIR) --minutes=$(MINUTES) $(ROBOT_TASK)

test: lint
	$(VENV)/bin/python -m pytest -q -n 2 --dist loadfile \
	  --durations=40 --durations-min=5

# Kills, signals, full disks and faulty cameras on a fake arm; over an hour.
arm-faults: $(INSTALLED)
	$(VENV)/bin/python -m tests.arm_faults

# The newest versions that pyproject.toml allows, on the newest Python: releases
# of JAX leave old Pythons out. TESTS=tests/sim runs a part.
NEWEST ?= .venv-newest
NEWEST_PYTHON ?= $(call find_python,python3.13 python3.12 python3.11)
TESTS ?= tests

test-newest:
	$(NEWEST_PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --upgrade --upgrade-strategy eager setuptools \
	  -e '.[datasets,gym,onnx,openpi,panel,tensorboard,test]'
	$(NEWEST)/bin/python -m pip check
	$(NEWEST)/bin/python -m pip freeze --exclude-editable
	$(NEWEST)/bin/python -m pytest -q -n 2 --dist loadfile $(TESTS)

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
	rm -rf $(VENV) $(NEWEST)

$(INSTALLED): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Python 3.11, 3.12 or 3.13 is needed:' \
	  'none found on PATH. Install one, or name it with PYTHON=path.' >&2; \
	  exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  -r requirements.txt
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
	  --no-deps -e .
	touch $@
