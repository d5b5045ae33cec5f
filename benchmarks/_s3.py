"""An S3 server for measurements: moto in a process of its own, which answers late and keeps count.

python benchmarks/_s3.py     # prints its port, and serves until its standard input ends
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from typing import Any

BUCKET = "benchmark"
KEY = "testing"


class _Late:
    """A WSGI application that waits before each answer, and notes when each request was there."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lock = threading.Lock()
        self._delay = 0.0
        self._noted: list[tuple[float, float]] = []

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path.startswith("/-/"):
            return self._told(path, start_response)
        began = time.monotonic()
        time.sleep(self._delay)
        answer = self._application(environ, start_response)
        with self._lock:
            self._noted.append((began, time.monotonic()))
        return answer

    def _told(self, path: str, start_response: Any) -> Iterable[bytes]:
        with self._lock:
            if path.startswith("/-/delay/"):
                self._delay = float(path.removeprefix("/-/delay/"))
            elif path == "/-/forget":
                self._noted.clear()
            body = json.dumps(self._noted).encode()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [body]


class Server:
    """The server as a context manager."""

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._endpoint = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        request = urllib.request.Request(f"{self._endpoint}/{BUCKET}", method="PUT")
        with urllib.request.urlopen(request):
            return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _ask(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self._endpoint}/-/{path}") as answer:
            return json.load(answer)

    def location(self, name: str) -> tuple[str, dict[str, Any]]:
        """A location on it, and the options that open it."""
        return f"s3://{BUCKET}/{name}", {
            "endpoint_url": self._endpoint,
            "region": "us-east-1",
            "allow_http": True,
            "force_path_style": True,
            "access_key_id": KEY,
            "secret_access_key": KEY,
        }

    def delay(self, seconds: float) -> None:
        """Answer so much later from now on."""
        self._ask(f"delay/{seconds}")

    def forget(self) -> None:
        """Begin to count anew."""
        self._ask("forget")

    def requests(self) -> int:
        """Requests since then."""
        return len(self._ask("noted"))

    def in_a_row(self) -> int:
        """The most requests since then of which each began when the one before was answered."""
        count, free = 0, float("-inf")
        for began, ended in sorted(self._ask("noted"), key=lambda span: span[1]):
            if began >= free:
                count, free = count + 1, ended
        return count


def _serve() -> None:
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    application = _Late(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    _serve()
