"""A folder behind a real web server on this machine."""

import contextlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path


class _Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing on stderr."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Yield the address, with a slash at its end."""
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *args: _Silent(*args, directory=str(folder))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
