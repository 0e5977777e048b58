# SPDX-License-Identifier: Apache-2.0
"""Policies: what they offer, how they are loaded, and the ones for tests."""
