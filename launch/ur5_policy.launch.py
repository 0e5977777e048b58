# SPDX-License-Identifier: Apache-2.0
"""A quantised vision-language-action policy drives a UR5, simulated unless ``use_sim:=false``."""

from launch import LaunchDescription

from sqil_ros.graph import POLICY_ARGUMENTS, policy_graph
from sqil_ros.nodes.launch_actions import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(POLICY_ARGUMENTS, policy_graph)
