"""Shared fixtures: an S3 server on the loopback interface, and locations of every kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _profiles  # noqa: F401  registers the hypothesis profiles
import pytest

S3_BUCKET = "zv-versioned-tests"
S3_KEY = "testing-key"
S3_SECRET = "testing-secret-never-shown"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of a moto S3 server that lives as long as the test session."""
    server_module = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=S3_KEY,
            aws_secret_access_key=S3_SECRET,
        )
        client.create_bucket(Bucket=S3_BUCKET)
        yield endpoint
    finally:
        server.stop()


@pytest.fixture
def s3_location(s3_endpoint: str) -> tuple[str, dict[str, Any]]:
    """A free location on the S3 server, and the options that open it."""
    options: dict[str, Any] = {
        "endpoint_url": s3_endpoint,
        "region": "us-east-1",
        "allow_http": True,
        "force_path_style": True,
        "access_key_id": S3_KEY,
        "secret_access_key": S3_SECRET,
    }
    return f"s3://{S3_BUCKET}/{uuid.uuid4().hex}", options


@pytest.fixture
def local_location(tmp_path: Path) -> str:
    """A free path on the local filesystem."""
    return str(tmp_path / "repository")


@pytest.fixture
def memory_location() -> str:
    """A free location in memory that can be opened again."""
    return f"memory://{uuid.uuid4().hex}"


@pytest.fixture(params=["local", "memory", "s3"])
def any_location(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """A free location of each kind in turn, and the options that open it."""
    if request.param == "s3":
        location: tuple[str, dict[str, Any]] = request.getfixturevalue("s3_location")
        return location
    return request.getfixturevalue(f"{request.param}_location"), {}
