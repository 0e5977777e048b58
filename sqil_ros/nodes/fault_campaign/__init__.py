# SPDX-License-Identifier: Apache-2.0
"""Every fault that must end at rest, brought about against the real processes and measured.

``python -m sqil_ros.nodes.fault_campaign --json docs/results/fault_campaign.json``
"""
