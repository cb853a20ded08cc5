"""Objects of a real server: always fresh, never half, made by one of several, and refused in one sentence."""

import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmcl_jax.bucket import objects as module
from mmcl_jax.bucket.address import Address
from mmcl_jax.bucket.objects import ChangedError, Objects
from mmcl_jax.errors import UserError
from tests.bucket.conftest import SECRET, client, forget_connections
from tests.bucket.server import Proxy, refusing, unreliable

pytestmark = pytest.mark.foreign


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between tries."""
    monkeypatch.setattr(module, "time", types.SimpleNamespace(sleep=lambda seconds: None))


def at(address: str) -> Objects:
    return Objects(Address.parse(address))


def test_what_another_program_writes_is_seen_at_once_and_whole(server: Proxy, tmp_path: Path) -> None:
    mine = at("s3://tests/fresh")
    assert mine.list() == {}
    other = client()
    for content in (b"one", b"longer than before", b""):
        other.put_object(Bucket="tests", Key="fresh/a/b", Body=content)
        found = mine.list()
        assert {name: stored.size for name, stored in found.items()} == {"a/b": len(content)}
        mine.get("a/b", found["a/b"], tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == content == mine.read("a/b")
    other.put_object(Bucket="tests", Key="fresh-1/c", Body=b"a neighbour")
    other.delete_object(Bucket="tests", Key="fresh/a/b")
    assert mine.list() == {}
    assert mine.read("a/b") is None
    with pytest.raises(ChangedError):
        mine.get("a/b", found["a/b"], tmp_path / "b")


def test_one_of_many_creates_an_object(server: Proxy) -> None:
    notes = [str(number).encode() for number in range(12)]
    with ThreadPoolExecutor(12) as threads:
        made = list(threads.map(lambda note: at("s3://tests/once").create("lock", note), notes))
    assert made.count(True) == 1
    assert at("s3://tests/once").read("lock") == notes[made.index(True)]


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_nothing_is_lost_or_short_on_a_bad_line(server: Proxy, tmp_path: Path, size: int, impatient: None) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    (tmp_path / "sent").write_bytes(content)
    with server.ruled(unreliable(0.25, seed=size)):
        bad = at("s3://tests/bad")
        for number in range(8):
            assert bad.put(f"{size}/{number}", tmp_path / "sent").size == size
        found = bad.list()
        for number in range(8):
            bad.get(f"{size}/{number}", found[f"{size}/{number}"], tmp_path / "back")
            assert (tmp_path / "back").read_bytes() == content


def test_a_short_answer_is_no_file(server: Proxy, tmp_path: Path, impatient: None) -> None:
    short = at("s3://tests/short")
    short.write("a", b"0123456789")
    stored = short.list()["a"]
    client().put_object(Bucket="tests", Key="short/a", Body=b"01234")  # replaced since the listing
    with pytest.raises(ChangedError):
        short.get("a", stored, tmp_path / "a")
    stored = short.list()["a"]
    with server.ruled(lambda method, path: "cut" if method == "GET" else None), pytest.raises(UserError, match="tries"):
        short.get("a", stored, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_used_is_said_in_one_sentence(server: Proxy, impatient: None, monkeypatch) -> None:
    with pytest.raises(UserError, match=r"^The bucket s3://missing does not exist"):
        at("s3://missing/x").list()
    with pytest.raises(UserError, match=r"^The bucket s3://missing does not exist"):
        at("s3://missing/x").check_writable()
    with server.ruled(refusing("PUT /tests/closed")):
        assert at("s3://tests/closed").list() == {}
        with pytest.raises(UserError, match=r"^s3://tests/closed/\.probe\S* may not be written with this"):
            at("s3://tests/closed").check_writable()
    with (
        server.ruled(refusing("GET /tests")),
        pytest.raises(UserError, match=r"^s3://tests/x may not be read with this"),
    ):
        at("s3://tests/x").list()
    with server.ruled(lambda method, path: "drop"), pytest.raises(UserError, match=r"in 6 tries") as raised:
        at("s3://tests/x").list()
    assert SECRET not in str(raised.value)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    forget_connections()
    with pytest.raises(UserError, match="there are no credentials for s3://"):
        at("s3://tests/x").list()
    monkeypatch.undo()
    forget_connections()
