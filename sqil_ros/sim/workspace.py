# SPDX-License-Identifier: Apache-2.0
"""Where the simulated arm may go: the toy sink's counter and the room above it."""

from sqil_ros.safety import Box

WORKSPACE = Box((0.20, -0.45, -0.04), (0.75, 0.45, 0.60))
"""In ``base_link`` [m]. A real cell has to be measured; this one is the scene's."""
