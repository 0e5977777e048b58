# SPDX-License-Identifier: Apache-2.0
"""Emulator, robot node and stub policy as real processes, and a node that operates them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import rclpy
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String
from std_srvs.srv import Trigger

from sqil_ros.errors import SqilError
from sqil_ros.msg import SafetyStatus
from sqil_ros.nodes.fault_campaign.stub_policy import BEHAVIOUR_TOPIC
from sqil_ros.nodes.fault_campaign.watch import ArmWatch
from sqil_ros.nodes.qos import LATCHED
from sqil_ros.robot.priority import go_first
from sqil_ros.sim.side_channel import SideChannel

_PATIENCE_S = 30.0


class Rig:
    """One robot with everything around it; use it with ``with``."""

    def __init__(self, host: str, domain: int, parameters: Mapping[str, object]) -> None:
        """Nothing starts before the ``with``.

        Args:
            host: loopback address for the emulator, this rig's own.
            domain: ROS domain, this rig's own.
            parameters: further parameters of the robot node.
        """
        self.host = host
        self._parameters = {'robot_ip': host, 'use_sim': True, 'dry_run': False, **parameters}
        self._environment = os.environ | {
            'ROS_DOMAIN_ID': str(domain),
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        }
        self._directory = tempfile.TemporaryDirectory(prefix='fault_campaign_')
        self._log = Path(self._directory.name) / 'robot_node.log'
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._context = rclpy.Context()
        self._domain = domain
        self.side_channel = SideChannel(host)
        self.status = SafetyStatus()

    def __enter__(self) -> Rig:
        self._start(
            'emulator', 'sqil_ros.sim.ur_controller', '--host', self.host, '--watch-parent'
        )
        # A real controller is a computer of its own and does not feel the load of this one.
        go_first(-10, self._processes['emulator'].pid)
        self._wait('the emulator', self._answers)
        self.watch = ArmWatch(self.host)
        rclpy.init(context=self._context, domain_id=self._domain)
        self._node = rclpy.create_node('operator', context=self._context)
        self._node.create_subscription(SafetyStatus, 'robot/safety', self._on_safety, LATCHED)
        self._behaviour = self._node.create_publisher(String, BEHAVIOUR_TOPIC, LATCHED)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._spinner = threading.Thread(target=self._executor.spin, daemon=True)
        self._spinner.start()
        self.start_node()
        self.start_policy()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in ('policy', 'node', 'emulator'):
            self._end(name)
        self.watch.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._spinner.join(timeout=2.0)
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)
        self.side_channel.close()
        self._directory.cleanup()

    # ---- processes -------------------------------------------------------------------------

    def start_node(self) -> None:
        """Start the robot node and wait until it reports a healthy, disarmed robot."""
        self.status = SafetyStatus()
        arguments = ['--ros-args']
        for name, value in self._parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ['-p', f'{name}:={text}']
        self._start('node', 'sqil_ros.nodes.robot_node', *arguments)
        self._wait('a disarmed robot', lambda: self.status.robot_mode == 7 and not self.fault)

    def start_policy(self) -> None:
        """Start the stub policy, which sweeps."""
        self.behave('sweep')
        self._start('policy', 'sqil_ros.nodes.fault_campaign.stub_policy')

    def kill(self, name: str) -> None:
        """SIGKILL to ``policy``, ``node`` or ``worker``."""
        if name == 'worker':
            os.kill(self.worker_pid(), signal.SIGKILL)
        else:
            self._processes[name].kill()
            self._processes[name].wait()

    def worker_pid(self) -> int:
        """Process number of the robot node's worker."""
        node = self._processes['node'].pid
        for entry in Path('/proc').iterdir():
            if not entry.name.isdecimal():
                continue
            try:
                command = (entry / 'cmdline').read_bytes()
                parent = int((entry / 'stat').read_text().rpartition(')')[2].split()[1])
            except (OSError, ValueError):
                continue
            if parent == node and b'sqil_ros.robot.worker' in command:
                return int(entry.name)
        raise SqilError('The robot node has no worker.')

    def log(self) -> str:
        """What the robot node and its workers have written."""
        return self._log.read_text(errors='replace')

    def _start(self, name: str, module: str, *arguments: str) -> None:
        output = self._log if name == 'node' else Path(self._directory.name) / f'{name}.log'
        with output.open('ab') as file:
            self._processes[name] = subprocess.Popen(
                [sys.executable, '-m', module, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def _end(self, name: str) -> None:
        process = self._processes.get(name)
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(8.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _answers(self) -> bool:
        try:
            self.side_channel.request('statistics')
        except SqilError:
            return False
        return True

    # ---- operation -------------------------------------------------------------------------

    @property
    def fault(self) -> str:
        """Latched fault as the robot node reports it."""
        return str(self.status.fault)

    def behave(self, behaviour: str) -> None:
        """Tell the stub policy what to do."""
        self._behaviour.publish(String(data=behaviour))

    def inject(self, kind: str, **values: float) -> None:
        """Bring about a fault of the controller."""
        self.side_channel.request('fault', kind=kind, **values)

    def call(self, service: str, patience_s: float = _PATIENCE_S) -> tuple[bool, str]:
        """Call one of the robot node's services."""
        client = self._node.create_client(Trigger, f'ur5_robot/{service}')
        try:
            if not client.wait_for_service(patience_s):
                raise SqilError(f'There is no service {service} within {patience_s:g} s.')
            future = client.call_async(Trigger.Request())
            self._wait(f'an answer of {service}', future.done, patience_s)
            answer = future.result()
            return bool(answer.success), str(answer.message)
        finally:
            self._node.destroy_client(client)

    def demand(self, service: str) -> None:
        """Call a service that must succeed.

        Raises:
            SqilError: it did not.
        """
        success, message = self.call(service)
        if not success:
            raise SqilError(f'{service} failed: {message}')

    def get_moving(self, speed: float = 0.15) -> None:
        """Home, arm, and wait until the policy moves the arm at ``speed`` [m/s]."""
        self.demand('home')
        self.demand('arm')
        self._wait('the arm to move', lambda: self.watch.now.tcp_speed > speed)

    def wait_for_fault(self, patience_s: float) -> str:
        """The name of the fault that gets latched, empty if none does in time."""
        end_s = time.monotonic() + patience_s
        while not self.fault and time.monotonic() < end_s:
            time.sleep(0.01)
        return self.fault

    def wait_for_rest(self, start_s: float, patience_s: float = 5.0) -> float | None:
        """Seconds from ``start_s`` to rest; None if the arm goes on moving."""
        end_s = time.monotonic() + patience_s
        time.sleep(0.35)
        while (rest := self.watch.rest_after(start_s)) is None and time.monotonic() < end_s:
            time.sleep(0.05)
        return rest

    def _on_safety(self, message: SafetyStatus) -> None:
        self.status = message

    def _wait(
        self, what: str, condition: Callable[[], bool], patience_s: float = _PATIENCE_S
    ) -> None:
        end_s = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end_s:
                log = self.log() if self._log.exists() else ''
                raise SqilError(
                    f'Waited {patience_s:g} s in vain for {what}; the robot says '
                    f'{self.status.fault!r} {self.status.message!r}.\n{log}'
                )
            time.sleep(0.01)
