# SPDX-License-Identifier: Apache-2.0
"""The real robot: everything that speaks UR's protocols and UR's ``base`` frame.

``ur_rtde`` is imported only inside the worker process, because its constructors hold the GIL and
a lost connection can crash the process that holds it.
"""
