"""The upload of an export, to a server that speaks as much of the hub's protocol as an upload needs."""

import base64
import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError
from mmcl_jax.export.hub import check_push, uploaded
from mmcl_jax.training.runs.run import Run

TOKEN = "hf_only_here"


class Hub(ThreadingHTTPServer):
    """A hub with one user, whose repositories are dicts of files; `status` is the answer to a commit."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.status, self.yaml_error = 200, ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """The requests of `create_repo` and `upload_folder`."""

    server: Hub

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, answer = self._answered(body)
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _answered(self, body: bytes) -> tuple[int, Any]:
        hub, parts = self.server, self.path.strip("/").split("/")
        if self.path == "/api/validate-yaml":
            errors = [{"message": hub.yaml_error}] if hub.yaml_error else []
            return (400 if errors else 200), {"errors": errors, "warnings": []}
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.files.setdefault(name, {})
            hub.private[name] = asked.get("private", asked.get("visibility") == "private")
            return 200, {"url": f"{hub.address}/{name}", "name": name}
        name = "/".join(parts[2:4])
        if parts[4] == "preupload":
            files = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            return 200, {"files": modes}
        if hub.status != 200:
            return hub.status, {"error": "the disk is full"}
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                hub.files[name][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return 200, {"commitUrl": f"{hub.address}/{name}/commit/1", "commitOid": "1", "success": True}

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    server = Hub()
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in place of an export."""
    (tmp_path / "release" / "orbax").mkdir(parents=True)
    (tmp_path / "release" / "README.md").write_text('---\nlibrary_name: "mmcl_jax"\n---\n# a\n')
    (tmp_path / "release" / "orbax" / "arrays").write_bytes(b"\x00\xff" * 100)
    return tmp_path / "release"


@pytest.mark.foreign
def test_the_command_uploads_what_it_writes(
    hub: Hub, every_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "release"
    command = ["export", "--run", str(every_run.directory), "--out", str(out), "--input", "pgs", "--push", "me/mine"]
    assert main([*command, "--license", "apache-2.0", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["address"] == f"{hub.address}/me/mine"
    assert values["files"] == ["model.safetensors", "preprocessing.safetensors", "modeling_torch"]
    expected = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert hub.files == {"me/mine": expected}
    assert hub.private == {"me/mine": True}
    metadata = yaml.safe_load(expected["README.md"].decode().split("---\n")[1])
    assert metadata["license"] == "apache-2.0"


@pytest.mark.foreign
def test_an_upload_is_public_if_asked(hub: Hub, folder: Path) -> None:
    assert uploaded(folder, "me/mine", private=False) == f"{hub.address}/me/mine"
    assert hub.private == {"me/mine": False}
    assert set(hub.files["me/mine"]) == {"README.md", "orbax/arrays"}


FAILURES = {
    "the token is wrong": ("HF_TOKEN", "hf_of_somebody", "the hub refused (it does not accept the token)"),
    "nobody answers": ("HF_ENDPOINT", "http://127.0.0.1:1", "the upload failed ([Errno 111] Connection refused)"),
    "no write access": ("status", 403, "the hub refused (the token may not write there)"),
    "the hub fails": ("status", 418, "the hub refused ("),
    "the license is unknown": ("yaml_error", '"license" must be one of these', "the upload failed (Invalid metadata"),
}


@pytest.mark.foreign
@pytest.mark.parametrize("case", FAILURES)
def test_a_failed_upload_is_one_sentence_and_loses_nothing(
    case: str, hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, value, sentence = FAILURES[case]
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if name.isupper():
        monkeypatch.setenv(name, str(value))
    else:
        setattr(hub, name, value)
    with pytest.raises(UserError) as error:
        uploaded(folder, "me/mine")
    assert sentence in str(error.value)
    assert str(error.value).endswith(f"the export in {folder} is complete, and the same command uploads it again.")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert hub.files.get("me/mine", {}) == {}


@pytest.mark.foreign
def test_without_a_token_nothing_is_computed(
    hub: Hub, every_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match=r"there is no token of the hub; log in with hf auth login, or set .* HF_TOKEN"):
        mj.export(every_run, out=tmp_path / "out", push="me/mine")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["mine", "me/", "/mine", "me/mine/more", "me/a b", "me/..", "me/a--b", "é/a", "me/a."])
def test_a_name_that_no_repository_has_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"is no repository OWNER/NAME"):
        check_push(name)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'mmcl_jax\[hub\]'"):
        check_push("me/mine")
