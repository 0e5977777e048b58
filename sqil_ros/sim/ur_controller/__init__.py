# SPDX-License-Identifier: Apache-2.0
"""A UR controller in a process of its own: the real wire protocols in front of simulated physics.

Start it with ``python -m sqil_ros.sim.ur_controller --help``; docs/ur_controller.md says what it
speaks and what it does not promise. Nothing here was verified against an arm.
"""
