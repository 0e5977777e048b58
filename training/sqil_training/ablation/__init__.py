# SPDX-License-Identifier: Apache-2.0
"""What every choice of SQIL is worth: policies that differ in one choice each."""
