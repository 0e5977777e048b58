# SPDX-License-Identifier: Apache-2.0
"""The shipped Fast DDS profile carries camera images whole."""

from __future__ import annotations

import json
import os

import pytest

pytestmark = pytest.mark.ros


def test_fewer_than_one_image_in_a_hundred_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqil_ros.nodes.image_transport_bench import measure
    from sqil_ros.share import share_directory

    monkeypatch.setenv('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    result = measure(share_directory() / 'config' / 'fastdds_shm.xml', frames=210)
    assert result['lost_percent'] < 1.0, json.dumps(result)
