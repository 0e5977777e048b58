# SPDX-License-Identifier: Apache-2.0
"""ROS I/O, and nothing else: the only place that imports rclpy and the generated messages."""
