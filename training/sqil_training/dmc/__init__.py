# SPDX-License-Identifier: Apache-2.0
"""SQIL where the policy sees numbers: DeepMind Control with weights and activations of 4 bits."""
