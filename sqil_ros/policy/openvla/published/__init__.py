# SPDX-License-Identifier: Apache-2.0
"""Checkpoints as OpenVLA publishes them (arXiv 2406.09246): their names, shapes and statistics."""
