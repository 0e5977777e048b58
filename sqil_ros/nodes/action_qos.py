# SPDX-License-Identifier: Apache-2.0
"""Quality of service of the policy's actions."""

from rclpy.duration import Duration
from rclpy.qos import HistoryPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

# The lease is how the robot node learns within a tenth of a second that the policy was killed.
ACTION = QoSProfile(
    depth=1,
    history=HistoryPolicy.KEEP_LAST,
    reliability=ReliabilityPolicy.RELIABLE,
    liveliness=LivelinessPolicy.AUTOMATIC,
    liveliness_lease_duration=Duration(seconds=0.1),
)
