"""An S3 server on the loopback interface: moto's, with writes that are atomic, as those of S3 are.

moto looks whether the condition of a write holds, and writes some steps later: of two that come
at the same moment it may let both through, and the first is lost. A commit is such a write.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEY = "testing-key"
SECRET = "testing-secret-never-shown"

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


@contextmanager
def served() -> Iterator[str]:
    """The URL of a server that lives as long as the block."""
    module = pytest.importorskip("moto.server")
    server = module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    server._server.app = _one_write_at_a_time(server._server.app)
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def _one_write_at_a_time(app: Application) -> Application:
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            return app(environ, start_response)
        with lock:
            return app(environ, start_response)

    return answer


def options(endpoint: str) -> dict[str, Any]:
    """What opens a repository there."""
    return {
        "endpoint_url": endpoint,
        "region": "us-east-1",
        "allow_http": True,
        "force_path_style": True,
        "access_key_id": KEY,
        "secret_access_key": SECRET,
    }


def client(endpoint: str) -> Any:
    """What speaks to it without zv_versioned and icechunk."""
    return pytest.importorskip("boto3").client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
    )
