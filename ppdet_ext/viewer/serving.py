"""Serving the page to this machine's browser until somebody ends it."""

from __future__ import annotations

import errno
import logging
import signal
import socket

from flask import Flask
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from ppdet_ext.errors import UserError

from .security import is_loopback

PORT = 5678
_TRIED = 20  # ports after `PORT`, where none was asked for
logger = logging.getLogger("ppdet_ext")


class _Handler(WSGIRequestHandler):
    """Keeps connections, over which a browser fetches small pictures by the dozen, and logs no requests."""

    protocol_version = "HTTP/1.1"
    timeout = 60

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a scroll would be a hundred lines."""


def make(app: Flask, host: str, port: int | None) -> BaseWSGIServer:
    """A server that listens, a thread for each connection.

    Args:
        host: address to listen at.
        port: None takes the first free one of `PORT` and those behind it; 0 any.

    Raises: UserError where it cannot listen there.
    """
    ports = range(PORT, PORT + _TRIED) if port is None else [port]
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    for number in ports:
        try:
            return _listening(app, host, number)
        except OSError as error:
            fault = error
            if error.errno != errno.EADDRINUSE:
                break
    flag = "--host" if fault.errno != errno.EADDRINUSE and fault.errno != errno.EACCES else "--port"
    given = host if flag == "--host" else ports[-1]
    raise UserError(f"{flag} {given}: cannot listen there ({fault.strerror or fault}). Give another {flag}.")


def _listening(app: Flask, host: str, port: int) -> BaseWSGIServer:
    # Werkzeug's own way ends the process where a port is taken.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
        # It takes the socket over by a copy of its handle.
        return make_server(host, port, app, threaded=True, request_handler=_Handler, fd=listener.fileno())


def address_of(host: str, port: int) -> str:
    """What to open in a browser."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}/"


def serve(app: Flask, host: str, port: int | None) -> None:
    """Say where the page is, and serve it until SIGINT or SIGTERM. Raises: UserError where it cannot listen."""
    server = make(app, host, port)
    # As Ctrl+C: a service manager's way to end it. Paddle's own handler would print a stack.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not is_loopback(host):
        logger.warning(
            "--host %s: everybody who reaches this machine sees these pictures, and can decide on them; nothing asks for a "
            "password. Without --host only this machine's own browser does (from elsewhere: ssh -L %d:127.0.0.1:%d …)",
            host,
            server.port,
            server.port,
        )
    print(f"Open {address_of(host, server.port)} in a browser. Ctrl+C ends it.", flush=True)
    try:
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        server.server_close()
