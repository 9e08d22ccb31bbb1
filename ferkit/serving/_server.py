"""The uvicorn server."""

import logging
import socket
from contextlib import suppress

import uvicorn

__all__ = ["run_server"]

SHUTDOWN = 60  # seconds; longer than an upload and its analysis take with the default time limits


def run_server(app, host, port, started):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OSError(
            f"Expected a free port and an address of this machine, got {host}:{port} ({reason}): choose another, or "
            "port=0 for any free port."
        ) from error
    with listening:
        if started is not None:
            shown = f"[{host}]" if ":" in host else host
            started(f"http://{shown}:{listening.getsockname()[1]}")
        logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every damaged upload
        # no access log, because it would keep the addresses of those who use the page
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=SHUTDOWN
        )
        with suppress(KeyboardInterrupt):  # uvicorn raises it again after it has stopped
            uvicorn.Server(config).run(sockets=[listening])
