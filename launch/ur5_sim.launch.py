# SPDX-License-Identifier: Apache-2.0
"""The simulated UR5 with its cameras and nothing that moves it."""

from launch import LaunchDescription

from sqil_ros.graph import SIMULATION_ARGUMENTS, simulation_graph
from sqil_ros.nodes.launch_actions import launch_description


def generate_launch_description() -> LaunchDescription:
    return launch_description(SIMULATION_ARGUMENTS, simulation_graph)
