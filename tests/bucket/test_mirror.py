"""Copies of folders in a bucket: equal to it, fetched once per machine, and never a mixture of two states."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl_jax.bucket import mirror as module
from mmcl_jax.bucket import objects
from mmcl_jax.bucket.address import Address
from mmcl_jax.bucket.border import addressed, filled, local
from mmcl_jax.bucket.mirror import Mirror
from mmcl_jax.errors import UserError
from mmcl_jax.files import damage, write_checksums
from tests.bucket.conftest import client, contents
from tests.bucket.server import Proxy, Rule, refusing

pytestmark = pytest.mark.foreign


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def after(allowed: int) -> Rule:
    """A rule by which the server takes so many changes, and then none."""
    left = iter(range(allowed))
    return lambda method, path: 500 if method in ("PUT", "DELETE") and next(left, None) is None else None


def make_run(folder: Path, content: str, steps: tuple[int, ...]) -> None:
    """Files like those of a run, all of one content."""
    for step in steps:
        checkpoint = folder / "checkpoints" / str(step)
        (checkpoint / "d").mkdir(parents=True)
        for name in ("a", "d/b"):
            (checkpoint / name).write_text(content)
        write_checksums(checkpoint, [checkpoint / "a", checkpoint / "d/b"])
    (folder / "config.json").write_text(content)
    write_checksums(folder, [folder / "config.json"])


def test_a_folder_is_published_and_fetched_and_only_changes_travel(server: Proxy, cache: Path, monkeypatch) -> None:
    mirror = Mirror(Address.parse("s3://tests/equal"))
    mirror.fetch()
    assert not mirror.path.exists()
    make_run(mirror.path, "one", (1, 2))
    for name in (
        "lock.json",
        ".hidden",
        "x.lock",
        "checkpoints/3/a",
        "checkpoints/4.orbax-tmp/a",
    ):  # not to be published
        (mirror.path / name).parent.mkdir(parents=True, exist_ok=True)
        (mirror.path / name).write_text("unfinished")
    mirror.publish()
    published = {name.removeprefix("equal/"): text.decode() for name, text in contents("equal/").items()}
    assert sorted(published) == ["checkpoints/1/a", "checkpoints/1/checksums.json", "checkpoints/1/d/b",
                                 "checkpoints/2/a", "checkpoints/2/checksums.json", "checkpoints/2/d/b",
                                 "checksums.json", "config.json"]  # fmt: skip
    monkeypatch.setenv("MMCL_CACHE", str(cache / "of another machine"))
    assert files(local("s3://tests/equal")) == published
    server.requests.clear()
    assert files(local("s3://tests/equal")) == published
    assert [method for method, path in server.requests if "list-type" not in path] == []
    client().put_object(Bucket="tests", Key="equal/config.json", Body=b"changed, and longer")
    client().delete_object(Bucket="tests", Key="equal/checkpoints/1/checksums.json")  # being removed
    copy = local("s3://tests/equal")
    assert (copy / "config.json").read_text() == "changed, and longer"
    assert not (copy / "checkpoints/1").exists()
    assert [path for method, path in server.requests if method == "GET" and "list-type" not in path] == [
        "/tests/equal/config.json"
    ]


def test_a_publication_that_breaks_anywhere_leaves_the_old_state_the_new_state_or_none(
    server: Proxy, cache: Path, monkeypatch
) -> None:
    """After every number of requests, a reader finds no checkpoint and no run whose files do not fit each other."""
    monkeypatch.setattr(objects, "TRIES", 1)
    monkeypatch.setattr(module, "in_parallel", lambda function, names: [function(name) for name in names])
    reader = cache / "reader"
    for allowed in range(1, 30):
        for name in contents("broken/"):
            client().delete_object(Bucket="tests", Key=name)
        monkeypatch.setenv("MMCL_CACHE", str(cache / str(allowed)))
        mirror = Mirror(Address.parse("s3://tests/broken"))
        make_run(mirror.path, "old", (1, 2))
        mirror.publish()
        for path in sorted(mirror.path.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        make_run(mirror.path, "new!", (2, 3))  # step 1 was removed, step 2 made again
        with server.ruled(after(allowed)):
            try:
                mirror.publish()
                complete = True
            except UserError:
                complete = False
        monkeypatch.setenv("MMCL_CACHE", str(reader))  # which fetched the state before
        copy = local("s3://tests/broken")
        for folder in (copy, *copy.glob("checkpoints/*")):
            assert damage(folder) is None, allowed
            assert len(set(files(folder).values()) & {"old", "new!"}) <= 1 or folder == copy, allowed
        if (copy / "config.json").exists():
            text = (copy / "config.json").read_text()
            assert text in ("old", "new!")
        mirror.publish()  # the next publication repairs it
        assert {files(folder)["a"] for folder in local("s3://tests/broken").glob("checkpoints/*")} == {"new!"}
        if complete:
            break
    assert complete
    assert allowed > 5


def test_large_files_of_checkpoints_are_fetched_when_they_are_used(server: Proxy, cache: Path, monkeypatch) -> None:
    mirror = Mirror(Address.parse("s3://tests/large"))
    checkpoint = mirror.path / "checkpoints" / "7"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(os.urandom(100_000))
    write_checksums(checkpoint, [checkpoint / "weights"])
    mirror.publish()
    monkeypatch.setenv("MMCL_CACHE", str(cache / "other"))
    copy = local("s3://tests/large") / "checkpoints" / "7"
    assert damage(copy, contents=False) is None
    assert damage(copy) is not None  # only its size is there
    filled(copy)
    assert damage(copy) is None
    assert local("s3://tests/large").exists()  # which does not take it away again
    assert damage(copy) is None


def test_what_two_programs_write_is_not_lost(server: Proxy, cache: Path, monkeypatch) -> None:
    @addressed(writes=("out",))
    def command(out: Path, *, meanwhile: str = "") -> None:
        (out / "evaluation.json").parent.mkdir(parents=True, exist_ok=True)
        (out / "evaluation.json").write_text("of this command")
        if meanwhile:
            client().put_object(Bucket="tests", Key="both/evaluation.json", Body=meanwhile.encode())

    command("s3://tests/both")  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"s3://tests/both/evaluation.json was changed by another program meanwhile"):
        command("s3://tests/both", meanwhile="of another")  # type: ignore[arg-type]
    assert contents("both/") == {"both/evaluation.json": b"of another"}


def test_several_processes_fetch_once_and_the_copies_are_private(server: Proxy, cache: Path) -> None:
    for number in range(20):
        client().put_object(Bucket="tests", Key=f"shared/{number}", Body=b"x" * 1000)
    code = "from mmcl_jax.bucket.border import local; print(len(list(local('s3://tests/shared').iterdir())))"
    server.requests.clear()
    server.delay = 0.02
    readers = [
        subprocess.Popen([sys.executable, "-P", "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    counts = [int(reader.communicate(timeout=120)[0].splitlines()[-1]) for reader in readers]
    server.delay = 0.0
    assert counts == [20, 20, 20]
    got = [path for method, path in server.requests if method == "GET" and "list-type" not in path]
    assert len(got) == len(set(got)) == 20
    assert (cache / "buckets").stat().st_mode & 0o777 == 0o700


def test_a_disk_that_is_too_small_is_named_before_anything_is_fetched(server: Proxy, cache: Path, monkeypatch) -> None:
    client().put_object(Bucket="tests", Key="huge/a", Body=b"x")
    monkeypatch.setattr(module, "_SPARE", 2**62)
    with pytest.raises(UserError, match=r"s3://tests/huge needs 0\.0 GiB .* set MMCL_CACHE to a folder"):
        local("s3://tests/huge")


def test_a_damaged_copy_is_fetched_again(server: Proxy, cache: Path) -> None:
    client().put_object(Bucket="tests", Key="kept/a", Body=b"right")
    path = local("s3://tests/kept") / "a"
    for content in (b"wrong", b"wro"):
        path.write_bytes(content)
        assert (local("s3://tests/kept") / "a").read_bytes() == b"right"
    for index in (cache / "buckets" / "indices").iterdir():
        index.write_text(json.dumps({"files": 3}))
    assert (local("s3://tests/kept") / "a").read_bytes() == b"right"


def test_a_publication_does_not_hide_that_a_file_is_refused(server: Proxy, cache: Path, monkeypatch) -> None:
    monkeypatch.setattr(objects, "TRIES", 1)
    mirror = Mirror(Address.parse("s3://tests/refused"))
    make_run(mirror.path, "x", (1,))
    with (
        server.ruled(refusing("PUT /tests/refused/checkpoints/1/a")),
        pytest.raises(UserError, match="may not be written"),
    ):
        mirror.publish()
    assert "refused/config.json" not in contents("refused/")
    assert "refused/checkpoints/1/checksums.json" not in contents("refused/")
