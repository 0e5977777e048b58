# SPDX-License-Identifier: Apache-2.0
"""``/sim_cameras``: looks at the emulator's scene and publishes what its two cameras see."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image as ImageMessage

from sqil_ros.contract import Contract
from sqil_ros.errors import RobotUnreachable, SceneError
from sqil_ros.nodes import sim_camera_parameters
from sqil_ros.nodes.policy_messages import time_message
from sqil_ros.nodes.qos import SENSOR
from sqil_ros.nodes.run import give_up, run
from sqil_ros.priority import go_first
from sqil_ros.sim.side_channel import SideChannel
from sqil_ros.sim.toy_sink import ToySink
from sqil_ros.types import Image

_RETRY_S = 1.0
_NICENESS = -6


class SimCameraNode(Node):
    """Renders on its own thread, because a graphics context belongs to one."""

    def __init__(self) -> None:
        """Declare the parameters and start to look."""
        super().__init__('sim_cameras')
        self._params = sim_camera_parameters.declare(self)
        self._contract = Contract.load()
        self._publishers_by_camera = [
            self.create_publisher(ImageMessage, camera.topic, SENSOR)
            for camera in self._contract.cameras
        ]
        # It stands for hardware, which would not wait for this processor.
        go_first(_NICENESS)
        self._channel = SideChannel(self._params.robot_ip, self._params.side_channel_port)
        self._scene: ToySink | None = None
        self._dressed: object = None
        self._connected = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name='cameras', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stop.set()
        self._thread.join(5.0)

    def _run(self) -> None:
        try:
            self._look_until_stopped()
        except Exception as error:  # noqa: BLE001  the thread's boundary: a node without it is blind
            give_up(self, f'The simulated cameras cannot render: {error!r}')
        finally:
            self._forget_scene()
            self._channel.close()

    def _look_until_stopped(self) -> None:
        period_s = 1.0 / self._params.camera_hz
        due_s = time.monotonic()
        while not self._stop.wait(max(0.0, due_s - time.monotonic())):
            try:
                self._look()
            except (RobotUnreachable, SceneError) as error:
                self._connected = False
                self.get_logger().warning(str(error), throttle_duration_sec=10.0)
                due_s = time.monotonic() + _RETRY_S
                continue
            # A late frame does not delay the next one; what is a whole frame late is skipped.
            due_s += period_s
            if time.monotonic() > due_s + period_s:
                due_s = time.monotonic()

    def _look(self) -> None:
        asked_ns = self.get_clock().now().nanoseconds
        snapshot = self._channel.request('snapshot')
        stamp_ns = (asked_ns + self.get_clock().now().nanoseconds) // 2
        scene = self._scene_of(snapshot)
        try:
            scene.set_qpos(np.asarray(snapshot['qpos'], dtype=float))
        except (KeyError, ValueError) as error:
            raise SceneError(
                f'The emulator describes another scene ({error}); start it with --plant toy_sink.'
            ) from error
        pictures = scene.render()
        if not self._connected:
            self._connected = True
            self.get_logger().info(f'Cameras look at the scene of {self._params.robot_ip}')
        # The camera that drives the control tick comes last: the others are then already there.
        for index in reversed(range(len(pictures))):
            self._publish(index, pictures[index], stamp_ns)

    def _scene_of(self, snapshot: dict) -> ToySink:
        """The renderer for the snapshot's variation, dressed for its seed."""
        variation = snapshot.get('variation', 'nominal')
        if self._scene is None or self._scene.variation != variation:
            self._forget_scene()
            self._scene = ToySink(
                self._contract,
                variation,
                self._params.height or None,
                self._params.width or None,
            )
        seed = snapshot.get('seed')
        if seed is not None and seed != self._dressed:
            self._scene.dress(int(seed))
            self._dressed = seed
        return self._scene

    def _forget_scene(self) -> None:
        if self._scene is not None:
            self._scene.close()
        self._scene = self._dressed = None

    def _publish(self, index: int, picture: Image, stamp_ns: int) -> None:
        height, width, channels = picture.shape
        message = ImageMessage(
            height=height,
            width=width,
            encoding=self._contract.image_encoding,
            is_bigendian=0,
            step=width * channels,
            data=picture.tobytes(),  # an ndarray would be copied element by element
        )
        message.header.stamp = time_message(stamp_ns)
        message.header.frame_id = f'camera_{self._contract.cameras[index].name}'
        self._publishers_by_camera[index].publish(message)


def main() -> int:
    """Run the node."""
    return run(SimCameraNode)


if __name__ == '__main__':
    sys.exit(main())
