# SPDX-License-Identifier: Apache-2.0
"""Native code for the CPU: products with packed weights, and a whole control step in one call."""
