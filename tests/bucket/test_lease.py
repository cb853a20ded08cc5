"""One training at a time works in a folder of a bucket."""

import json
import subprocess
import sys
import time
import types

import pytest

from mmcl_jax.bucket import lease as module
from mmcl_jax.bucket.address import Address
from mmcl_jax.bucket.lease import Lease
from mmcl_jax.bucket.objects import Objects
from mmcl_jax.errors import UserError
from tests.bucket.conftest import client, contents
from tests.bucket.server import Proxy

pytestmark = pytest.mark.foreign


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.2)
    monkeypatch.setattr(module, "_SETTLE", 0.1)


def lease(name: str) -> Lease:
    address = Address.parse(f"s3://tests/{name}")
    return Lease(Objects(address), what=f"trains in {address}", log=lambda line: None)


def holder(name: str) -> dict:
    return json.loads(contents(f"{name}/lock.json")[f"{name}/lock.json"])


def test_a_second_training_is_refused_and_the_lease_is_free_behind_the_first(server: Proxy) -> None:
    with lease("one"):
        with (
            pytest.raises(UserError, match=r"^Process \d+ on \S+ trains in s3://tests/one; wait until it ends"),
            lease("one"),
        ):
            pytest.fail("two hold the lease")
        assert holder("one")["beat"] >= 0
    assert contents("one/") == {}
    with lease("one"):
        pass


def test_a_killed_process_of_this_host_loses_the_lease_at_once(server: Proxy) -> None:
    code = (
        "import os, signal; from mmcl_jax.bucket.lease import Lease; from mmcl_jax.bucket.objects import Objects\n"
        "from mmcl_jax.bucket.address import Address\n"
        "Lease(Objects(Address.parse('s3://tests/killed')), what='trains').__enter__()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], timeout=120).returncode == -9
    before = holder("killed")
    began = time.monotonic()
    with lease("killed"):
        assert holder("killed")["token"] != before["token"]
    assert time.monotonic() - began < module.DEAD * module.BEAT + 5


def test_a_holder_elsewhere_is_alive_while_it_beats(server: Proxy) -> None:
    note = {"host": "another", "pid": 1, "started": "1", "token": "other"}
    client().put_object(Bucket="tests", Key="far/lock.json", Body=json.dumps(note | {"beat": 0}).encode())
    with lease("far") as mine:  # it does not beat
        assert mine.is_held()
        client().put_object(Bucket="tests", Key="far/lock.json", Body=json.dumps(note | {"beat": 1}).encode())
        assert mine.lost.wait(10)
        assert not mine.is_held()
    assert holder("far") == note | {"beat": 1}  # whose lease it is now

    def beat(*args: object) -> float:
        number = holder("far")["beat"] + 1
        client().put_object(Bucket="tests", Key="far/lock.json", Body=json.dumps(note | {"beat": number}).encode())
        return 0.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "time", types.SimpleNamespace(monotonic=time.monotonic, sleep=beat))
        with pytest.raises(UserError, match=r"^Process 1 on another trains"), lease("far"):
            pytest.fail("two hold the lease")
