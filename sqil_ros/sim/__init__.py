# SPDX-License-Identifier: Apache-2.0
"""The simulated robot: scene, tasks, scripted expert, and the controller emulator."""

import os

# Read by mujoco when it is first imported; without a display EGL is the one that works.
os.environ.setdefault('MUJOCO_GL', 'egl')
# Read by Mesa's software renderer: threads cost pictures as small as ours more than they give.
os.environ.setdefault('LP_NUM_THREADS', '0')
