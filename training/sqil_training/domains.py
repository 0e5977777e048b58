# SPDX-License-Identifier: Apache-2.0
"""Domains by the name that the command line knows."""

from __future__ import annotations

from sqil_training.libero.domain import LIBERO_OBJECT, LIBERO_SPATIAL
from sqil_training.toy_sink_domain import TOY_SINK

DOMAINS = {domain.name: domain for domain in (TOY_SINK, LIBERO_OBJECT, LIBERO_SPATIAL)}
