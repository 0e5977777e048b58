# SPDX-License-Identifier: Apache-2.0
"""How every node of this package starts and ends."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

from sqil_ros.errors import SqilError


def give_up(node: Node, reason: str) -> None:
    """End the process of ``node`` with status 1; may be called from any of its threads.

    While the process is ending anyway, threads fail for want of a context: that is no failure.
    """
    if not node.context.ok():
        return
    node.get_logger().fatal(reason)
    node.failure = reason
    rclpy.try_shutdown()


def run(create: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Create a node, spin it until it is told to stop, and clean up.

    Args:
        create: makes the node; a method ``close`` of it, if there is one, is called at the end.
        args: command line; the process's own when left out.

    Returns:
        Exit status: 0 after SIGINT or SIGTERM, 1 with one line on stderr when the node refuses
        its parameters or fails.
    """
    rclpy.init(args=args)
    executor = SingleThreadedExecutor()
    node = None
    try:
        node = create()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass  # told to stop
    except RuntimeError:
        # rclpy takes a message while the signal handler ends the context under it.
        if rclpy.ok():
            raise
    except (SqilError, ParameterException) as error:
        print(f'{type(error).__name__}: {error}', file=sys.stderr, flush=True)
        return 1
    finally:
        # Ctrl-C reaches a whole terminal group, sometimes twice: the second must not cut the
        # clean-up short, or a bag stays without its index and a worker without its owner.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            close = getattr(node, 'close', None)
            if close is not None:
                close()
            executor.shutdown(timeout_sec=1.0)
            node.destroy_node()
        rclpy.try_shutdown()
    return 1 if getattr(node, 'failure', '') else 0
