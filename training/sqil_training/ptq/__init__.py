# SPDX-License-Identifier: Apache-2.0
"""Post-training quantisation: one file a method, behind one interface."""
