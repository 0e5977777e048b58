# SPDX-License-Identifier: Apache-2.0
"""The command line of the view: ``make view``, ``sqil-view`` or ``python -m sqil_ros.view``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from sqil_ros.contract import Contract
from sqil_ros.errors import SqilError
from sqil_ros.graph import environment
from sqil_ros.supervisor import end_on_sigterm
from sqil_ros.view.server import ViewServer

_EXAMPLES = """\
Start it before, while or after `make demo` runs; it waits for whatever comes.

examples:
  python -m sqil_ros.view
  python -m sqil_ros.view --port 8090 --namespace left
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog='sqil-view',
        description=f'A running graph in the browser.\n\n{_EXAMPLES}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--host', default='127.0.0.1', help='address to serve on (%(default)s)')
    parser.add_argument('--port', type=int, default=8080, help='port to serve on (%(default)s)')
    parser.add_argument('--namespace', default='', help='of the nodes to watch')
    arguments = parser.parse_args(argv)
    end_on_sigterm()
    os.environ.update(environment())
    try:
        _serve(arguments.host, arguments.port, arguments.namespace)
    except KeyboardInterrupt:
        return 0
    except SqilError as error:
        print(f'sqil-view: {error}', file=sys.stderr)
        return 1
    return 0


def _serve(host: str, port: int, namespace: str) -> None:
    from sqil_ros.nodes.watcher import Watcher  # ROS only now: --help answers at once

    contract = Contract.load()
    cameras = [camera.name for camera in contract.cameras]
    watcher = Watcher(contract, namespace)
    with ViewServer(watcher, cameras, host, port) as server, watcher:
        print(f'http://{host}:{server.server_address[1]}  (Ctrl-C ends)', flush=True)
        server.serve_forever()


if __name__ == '__main__':
    sys.exit(main())
