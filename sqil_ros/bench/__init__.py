# SPDX-License-Identifier: Apache-2.0
"""How long things take, beside strong baselines and the machine's limit (docs/benchmarks.md)."""
