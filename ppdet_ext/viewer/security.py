"""Who may ask the page what: this machine's browser alone, from the page itself; what it gets is shown and never run.

A page on the internet can make a browser send requests to 127.0.0.1, and a name server can call it by a name of its own (DNS
rebinding). So requests must name this machine as their host, and those that change something must come from the page.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

from flask import Flask, Response, abort, request

# No other site's pages can send it without asking first, which is refused.
OWN_HEADER = "X-Ppdet-View"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_ours(host: str, listening: str) -> bool:
    """Whether a request's `Host` may be this page's.

    listening: the address it listens at. Where that is not loopback, addresses of numbers (which no name server gives out)
    and this machine's own name are right too.
    """
    name = urlsplit(f"//{host}").hostname or ""
    if name in ("localhost", "127.0.0.1", "::1"):
        return True
    if is_loopback(listening):
        return False
    if name in {listening.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def guard(app: Flask, listening: str) -> None:
    """Refuse what the page itself would not send, and add the headers that keep names from becoming code."""

    @app.before_request
    def refuse() -> None:
        if not is_ours(request.host, listening):
            abort(421, f"This page is not {request.host}. Open it as http://127.0.0.1, or by the machine's address.")
        foreign = request.headers.get("Sec-Fetch-Site") not in (None, "same-origin", "none")
        if foreign and not (request.method in ("GET", "HEAD") and request.path == "/"):
            abort(403, "Another site may not ask this page for anything.")
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            abort(403, "Another site may not change anything here.")
        if request.headers.get(OWN_HEADER) != "1":
            abort(403, f"The header {OWN_HEADER}: 1 is missing, which the page sends with whatever changes something.")

    @app.after_request
    def add_headers(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "no-store")
        return response
