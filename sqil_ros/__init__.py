# SPDX-License-Identifier: Apache-2.0
"""Quantised vision-language-action policies on a UR5e, from ROS 2."""

from pkgutil import extend_path

# The generated messages may be installed elsewhere than these sources (in the venv of a checkout):
# both directories together are the package.
__path__ = extend_path(__path__, __name__)
__version__ = '0.1.0'
