# SPDX-License-Identifier: Apache-2.0
"""Energy that the machine says it has used, where it says so; never an estimate."""
