# SPDX-License-Identifier: Apache-2.0
"""Offline work: episodes, training, quantisation, evaluation. Never imported by a robot."""
