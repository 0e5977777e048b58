# SPDX-License-Identifier: Apache-2.0
"""A small web server: the page, the state as JSON, the cameras as JPEG."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import cv2
import numpy as np

from sqil_ros.errors import ObservationError, ParameterError
from sqil_ros.types import Image
from sqil_ros.view.page import page

_QUALITY = 85


class Source(Protocol):
    """What is shown; ``sqil_ros.nodes.watcher`` is the real one."""

    def picture(self, camera: str) -> Image | None:
        """Newest picture of a camera, None before the first."""

    def state(self) -> dict[str, Any]:
        """Everything else, ready for JSON."""


class ViewServer(ThreadingHTTPServer):
    """Serves one source on this machine; read-only."""

    daemon_threads = True

    def __init__(self, source: Source, cameras: Sequence[str], host: str, port: int) -> None:
        """Bind to ``host:port``; port 0 takes any free one.

        Raises:
            ParameterError: the address is taken or not ours.
        """
        self.source, self.cameras = source, tuple(cameras)
        self.page = page(self.cameras).encode()
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ParameterError(
                f'Nothing can be served on {host}:{port} ({error}); choose another --port.'
            ) from error


class _Handler(BaseHTTPRequestHandler):
    server: ViewServer
    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        path = self.path.partition('?')[0]
        camera = path.removeprefix('/camera/').removesuffix('.jpg')
        if path == '/':
            self._answer('text/html; charset=utf-8', self.server.page)
        elif path == '/state.json':
            self._answer('application/json', json.dumps(self.server.source.state()).encode())
        elif path == f'/camera/{camera}.jpg' and camera in self.server.cameras:
            self._picture(camera)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _picture(self, camera: str) -> None:
        try:
            image = self.server.source.picture(camera)
        except ObservationError as error:
            self.send_error(HTTPStatus.UNPROCESSABLE_ENTITY, explain=str(error))
            return
        if image is None:
            self.send_error(HTTPStatus.NOT_FOUND, explain='No picture yet.')
            return
        bgr = np.ascontiguousarray(image[..., ::-1])
        _, data = cv2.imencode('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        self._answer('image/jpeg', data.tobytes())

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.send_header('Cache-Control', 'no-store')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Twenty requests a second are no news."""
