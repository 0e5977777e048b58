# SPDX-License-Identifier: Apache-2.0
"""Where the simulated arm may go: the toy sink's counter and the room above it.

In ``base_link`` [m]. A real cell has to be measured; these are the scene's figures. The margin
that the filter keeps leaves the finger tips 8 mm above the counter, low enough for an eggplant.
"""

from sqil_ros.safety import Box

WORKSPACE = Box((0.25, -0.45, -0.012), (0.75, 0.40, 0.55))
TABLE_Z = -0.012
