"""The server: Streamlit's application, and beside it the one script that the charts load."""

from __future__ import annotations

import os
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

from autosearch.errors import DefinitionError

__all__ = ["LOOPBACK", "NOTES_VARIABLE", "PROMOTE_VARIABLE", "SCRIPT", "free_port", "serve"]

NOTES_VARIABLE = "AUTOSEARCH_DASHBOARD_NOTES"
PROMOTE_VARIABLE = "AUTOSEARCH_DASHBOARD_PROMOTE"

SCRIPT = "assets/plotly-basic-4.1.1.min.js"
"""The charts' script, below the application's address and in this package alike."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def free_port(host: str, port: int | None) -> socket.socket:
    """A socket bound to the port, or to the first free one from 8501 if none is asked for.

    Raises:
        DefinitionError: The asked port is taken, or the host is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = range(8501, 8551) if port is None else (port,)
    reason = ""
    for number in tried:
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind((host, number))
        except OSError as error:
            bound.close()
            reason = error.strerror or str(error)
            continue
        return bound
    raise DefinitionError(
        f"nothing can listen on {host} port {tried[0]} ({reason.lower()}); "
        "name another with --port or --host"
    )


def serve(
    bound: socket.socket, *, host: str, open_browser: bool, say: Callable[[str], None]
) -> None:
    """Serves the dashboard until it is interrupted.

    Args:
        bound: Where to listen.
        host: The name under which it was bound.
        open_browser: Whether to open a browser on it.
        say: Told one sentence for the person who started it.
    """
    # Read when Streamlit is imported.
    os.environ.setdefault("STREAMLIT_SERVER_HEADLESS", "true")
    os.environ.setdefault("STREAMLIT_BROWSER_GATHER_USAGE_STATS", "false")
    import uvicorn
    from starlette.datastructures import MutableHeaders
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.requests import Request
    from starlette.responses import FileResponse
    from starlette.routing import Route
    from starlette.types import ASGIApp, Message, Receive, Scope, Send
    from streamlit.starlette import App

    async def plotly_script(_request: Request) -> FileResponse:
        return FileResponse(
            Path(__file__).parent / SCRIPT,
            media_type="text/javascript",
            headers={"Cache-Control": "public, max-age=31536000"},
        )

    class Preloaded:
        """Tells the browser of the charts' script with the page, before Streamlit asks for it."""

        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def send_with_link(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    if headers.get("content-type", "").startswith("text/html"):
                        headers["Link"] = f"</{SCRIPT}>; rel=preload; as=script"
                await send(message)

            await self._app(scope, receive, send_with_link)

    # A page elsewhere must not reach a loopback server through a name of its own.
    guards = (
        [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])]
        if host in LOOPBACK
        else []
    )
    application = App(
        Path(__file__).parent / "app.py",
        routes=[Route(f"/{SCRIPT}", plotly_script)],
        middleware=[*guards, Middleware(Preloaded)],
    )
    port = bound.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}/"
    server = uvicorn.Server(
        uvicorn.Config(application, log_config=None, access_log=False, ws_ping_interval=20)
    )
    say(f"The dashboard is at {address} until you press Ctrl-C.")
    if open_browser:
        timer = threading.Timer(1.5, webbrowser.open, [address])
        timer.daemon = True
        timer.start()
    server.run(sockets=[bound])
