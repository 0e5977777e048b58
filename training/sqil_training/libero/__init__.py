# SPDX-License-Identifier: Apache-2.0
"""LIBERO as a judge: its scenes, its initial states and its word on success; the policy is ours.

Only `scene` imports LIBERO, which lives in an environment of its own (`make judge-libero`), and
only `arms` imports `scene`, when the first arm is asked for.
"""

import sqil_ros.sim  # noqa: F401  it chooses the renderer before anybody imports mujoco
