# SPDX-License-Identifier: Apache-2.0
"""Low-bit weights: quantiser, packed storage, layers that compute from it, profiles, hot swap."""
