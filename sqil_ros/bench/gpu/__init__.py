# SPDX-License-Identifier: Apache-2.0
"""Measurements on one NVIDIA GPU: products, whole control steps, and what they should take."""
