"""Shared fixtures: an S3 server on the loopback interface, and locations of every kind."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _profiles  # noqa: F401  registers the hypothesis profiles
import _s3
import pytest

S3_BUCKET = "zv-versioned-tests"


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The URL of an S3 server that lives as long as the test session."""
    with _s3.served() as endpoint:
        _s3.client(endpoint).create_bucket(Bucket=S3_BUCKET)
        yield endpoint


@pytest.fixture
def s3_location(s3_endpoint: str) -> tuple[str, dict[str, Any]]:
    """A free location on the S3 server, and the options that open it."""
    return f"s3://{S3_BUCKET}/{uuid.uuid4().hex}", _s3.options(s3_endpoint)


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
