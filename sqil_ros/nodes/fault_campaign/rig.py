# SPDX-License-Identifier: Apache-2.0
"""Emulator, robot node and stub policy as real processes, and a node that operates them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import rclpy
from std_msgs.msg import String

from sqil_ros.errors import RobotFault, SqilError
from sqil_ros.nodes.fault_campaign.stub_policy import BEHAVIOUR_TOPIC
from sqil_ros.nodes.fault_campaign.watch import ArmWatch
from sqil_ros.nodes.operator import Operator
from sqil_ros.nodes.qos import LATCHED
from sqil_ros.safety.controller import ROBOT_RUNNING
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

    def __enter__(self) -> Rig:
        self._start(
            'emulator', 'sqil_ros.sim.ur_controller', '--host', self.host, '--watch-parent'
        )
        self._wait('the emulator', self._answers)
        self.watch = ArmWatch(self.host)
        rclpy.init(context=self._context, domain_id=self._domain)
        self.operator = Operator('campaign', context=self._context)
        self._behaviour = self.operator.node.create_publisher(String, BEHAVIOUR_TOPIC, LATCHED)
        self.operator.__enter__()
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
        self.operator.__exit__()
        rclpy.try_shutdown(context=self._context)
        self.side_channel.close()
        self._directory.cleanup()

    # ---- processes -------------------------------------------------------------------------

    def start_node(self) -> None:
        """Start the robot node and wait until it reports a healthy, disarmed robot."""
        self.operator.safety = None
        arguments = ['--ros-args']
        for name, value in self._parameters.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            arguments += ['-p', f'{name}:={text}']
        self._start('node', 'sqil_ros.nodes.robot_node', *arguments)
        self._wait('a disarmed robot', self._disarmed)

    def start_policy(self) -> None:
        """Start the stub policy, which sweeps."""
        self.behave('sweep')
        self._start('policy', 'sqil_ros.nodes.fault_campaign.stub_policy')

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to ``policy``, ``node`` or ``worker``."""
        process = self._processes.get(name)
        os.kill(self.worker_pid() if process is None else process.pid, number)
        if process is not None and number == signal.SIGKILL:
            process.wait()

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
                start_new_session=True,
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
        safety = self.operator.safety
        return '' if safety is None else str(safety.fault)

    def behave(self, behaviour: str) -> None:
        """Tell the stub policy what to do."""
        self._behaviour.publish(String(data=behaviour))

    def inject(self, kind: str, **values: float) -> None:
        """Bring about a fault of the controller."""
        self.side_channel.request('fault', kind=kind, **values)

    def refuses_to_arm(self) -> bool:
        """Whether the robot node refuses an order that would let the arm move."""
        try:
            self.operator.order('arm')
        except RobotFault:
            return True
        return False

    def get_moving(self, speed: float = 0.15) -> None:
        """Home, arm, and wait until the policy moves the arm at ``speed`` [m/s]."""
        self.operator.order('home')
        self.operator.order('arm')
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

    def _disarmed(self) -> bool:
        safety = self.operator.safety
        return safety is not None and safety.robot_mode == ROBOT_RUNNING and not safety.fault

    def _wait(
        self, what: str, condition: Callable[[], bool], patience_s: float = _PATIENCE_S
    ) -> None:
        end_s = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end_s:
                log = self.log() if self._log.exists() else ''
                raise SqilError(
                    f'Waited {patience_s:g} s in vain for {what}; the robot reports '
                    f'{self.fault or "no fault"}.\n{log}'
                )
            time.sleep(0.01)
