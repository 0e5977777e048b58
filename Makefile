# SPDX-License-Identifier: Apache-2.0
# Verbs for people; `make help` lists them. Everything runs from .venv, which `make setup` keeps up to date.

PYTHON ?= python3
ARGS ?=
RUN := .venv/bin/python

# Nodes of this machine find each other and nobody else's.
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export FASTRTPS_DEFAULT_PROFILES_FILE ?= $(CURDIR)/config/fastdds_shm.xml
ifdef ROS_DISTRO
# An installed ROS finds the libraries of our messages only through this; the wheels need no help.
export LD_LIBRARY_PATH := $(CURDIR)/.venv/lib:$(LD_LIBRARY_PATH)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo view test check bench bench-gpu judge-libero format lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup:  ## bring .venv up to date (the other verbs do it too)
	@$(PYTHON) scripts/setup.py

demo: setup  ## four kitchen tasks by the 4-bit policy over ROS 2, in real time
	@$(RUN) -m sqil_ros.demo $(ARGS)

view: setup  ## watch the running demo in a browser
	@$(RUN) -m sqil_ros.view $(ARGS)

test: setup  ## all tests; ARGS='-m "not slow"' selects
	@$(RUN) -m pytest $(ARGS)

check: setup  ## linter, format and types
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy

bench-gpu: setup  ## measure products and 7B steps on an NVIDIA GPU (docs/results/engine)
	@$(RUN) -m sqil_ros.bench.gpu $(ARGS)

bench: setup  ## measure image transport anew (docs/results)
	@$(RUN) -m sqil_ros.nodes.image_transport_bench --json docs/results/image_transport.json

judge-libero: setup  ## LIBERO judges a policy; ARGS='judge --profiles fp,int4_rtn --json out/l.json'
	@$(RUN) scripts/setup_libero.py
	@.venv-libero/bin/python -m sqil_training.libero $(or $(ARGS),--help)

format: setup  ## let the formatter mend what it can
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

lock:  ## resolve constraints.txt anew
	@scripts/lock.sh

clean:  ## remove what the verbs made, .venv included
	rm -rf .venv .venv-libero build install log out .mypy_cache .pytest_cache .ruff_cache .hypothesis sqil_ros/engine/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
