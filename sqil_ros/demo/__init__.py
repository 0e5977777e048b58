# SPDX-License-Identifier: Apache-2.0
"""``make demo``: the four kitchen tasks over ROS 2, in real time, and a report of how it went."""
