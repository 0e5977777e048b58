# SPDX-License-Identifier: Apache-2.0
"""Profiles for others: compressed-tensors folders, parity reports and model cards."""
