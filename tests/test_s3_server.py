"""The S3 server of the tests: what they prove of writers is true only if its writes are atomic."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import _s3
import pytest

WRITERS = 8


@pytest.fixture
def switching_often() -> Iterator[None]:
    """Threads that take turns at every few steps, so that what can go wrong does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_one_of_several_conditional_writes_is_let_through(switching_often: None) -> None:
    exceptions = pytest.importorskip("botocore.exceptions")
    together = threading.Barrier(WRITERS)
    with _s3.served() as endpoint, ThreadPoolExecutor(WRITERS) as threads:
        clients = [_s3.client(endpoint) for _ in range(WRITERS)]
        clients[0].create_bucket(Bucket="conditions")

        def put(who: int, tag: str) -> int:
            together.wait(30)
            try:
                clients[who].put_object(
                    Bucket="conditions", Key="tip", Body=f"{tag} {who}", IfMatch=tag
                )
            except exceptions.ClientError:
                return 0
            return 1

        for number in range(50):
            made = clients[0].put_object(Bucket="conditions", Key="tip", Body=f"{number}")
            assert sum(threads.map(put, range(WRITERS), [made["ETag"]] * WRITERS)) == 1
