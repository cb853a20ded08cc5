"""A bucket of a real server, with keys in the environment and a cache of its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bucket.server import Proxy, running

KEY, SECRET = "AKIDOFTHETESTS", "the-secret-of-the-tests"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The proxy of a server that has the bucket `tests`; the environment leads there."""
    for library in ("moto", "s3fs", "boto3"):
        pytest.importorskip(library)
    with running() as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", KEY)
        patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", proxy.address)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("MMCL_CACHE", str(tmp_path_factory.mktemp("cache")))
        forget_connections()
        client().create_bucket(Bucket="tests")
        yield proxy
        forget_connections()


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test alone, as on another machine."""
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def forget_connections() -> None:
    from mmcl_jax.bucket import objects

    objects._system.cache_clear()


def client() -> Any:
    """Another program's client of the bucket."""
    import boto3

    return boto3.client("s3")


def contents(prefix: str = "") -> dict[str, bytes]:
    """The objects of the bucket below a prefix, as another program reads them."""
    s3 = client()
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="tests", Prefix=prefix)
    names = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {name: s3.get_object(Bucket="tests", Key=name)["Body"].read() for name in names}
