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
# Streamlit's script would first ask where the server is, below the page's own address to begin
# with, and how it is set up. It is told both, so that the connection opens at once. The charts'
# script runs while the server works at the page.
_HEAD = f"""<head><script>
{{
  const base = new URL(".", location.href);
  window.__streamlit = {{
    BACKEND_BASE_URL: base.href,
    HOST_CONFIG: {{ allowedOrigins: [base.origin], useExternalAuthToken: false }},
  }};
  let plotly = null;
  window.loadPlotly = () => plotly ??= new Promise((resolve, reject) => {{
    const script = document.createElement("script");
    script.src = new URL("{SCRIPT}", base);
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {{ plotly = null; reject(new Error("Plotly's script is missing")); }};
    document.head.append(script);
  }});
  const later = window.requestIdleCallback ?? window.setTimeout;
  addEventListener("load", () => later(() => window.loadPlotly().catch(() => {{}})));
}}
</script>"""

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
        # What elsewhere frees a port that was used a moment ago shares a taken one on Windows.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        bound.setsockopt(socket.SOL_SOCKET, option, 1)
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
    from starlette.datastructures import Headers, MutableHeaders
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

    class Prepared:
        """Puts our script into Streamlit's page, and tells of the charts' script along with it."""

        def __init__(self, app: ASGIApp) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            asked = Headers(scope=scope) if scope["type"] == "http" else Headers()
            if scope.get("method") != "GET" or "text/html" not in asked.get("accept", ""):
                await self._app(scope, receive, send)
                return
            start: Message | None = None
            page = b""

            async def send_prepared(message: Message) -> None:
                nonlocal start, page
                if message["type"] == "http.response.start" and _is_page(message):
                    start = message
                    return
                if start is None:
                    await send(message)
                    return
                page += message.get("body", b"")
                if message.get("more_body", False):
                    return
                page = page.replace(b"<head>", _HEAD.encode(), 1)
                headers = MutableHeaders(scope=start)
                del headers["ETag"], headers["Last-Modified"]
                headers["Content-Length"] = str(len(page))
                headers["Link"] = f"<{SCRIPT}>; rel=preload; as=script"
                await send(start)
                await send({"type": "http.response.body", "body": page})

            # What is compressed could not be added to, and a page that a browser kept may be one
            # of another version: its tag is that of Streamlit's own file.
            unwanted = (b"accept-encoding", b"if-none-match", b"if-modified-since")
            plain = [(name, value) for name, value in scope["headers"] if name not in unwanted]
            await self._app({**scope, "headers": plain}, receive, send_prepared)

    def _is_page(message: Message) -> bool:
        kind = Headers(raw=message["headers"]).get("content-type", "")
        return message["status"] == 200 and kind.startswith("text/html")

    # A page elsewhere must not reach a loopback server through a name of its own.
    guards = (
        [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])]
        if host in LOOPBACK
        else []
    )
    application = App(
        Path(__file__).parent / "app.py",
        routes=[Route(f"/{SCRIPT}", plotly_script)],
        middleware=[*guards, Middleware(Prepared)],
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
