"""Addresses are read, or refused in a sentence that repeats no credentials, before anything is done."""

from pathlib import Path

import pytest

from mmcl_jax.bucket import address as module
from mmcl_jax.bucket.address import Address, is_address
from mmcl_jax.cli.main import main
from mmcl_jax.errors import UserError


@pytest.mark.core
@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("s3://b/stores/ads", "s3://b/stores/ads"),
        ("S3://b/stores/ads/", "s3://b/stores/ads"),
        ("gs://b", "gs://b"),
        (Path("s3://b/stores/ads"), "s3://b/stores/ads"),  # which pathlib writes with one slash
        ("gs://b/a@b:c d/é", "gs://b/a@b:c d/é"),
    ],
)
def test_an_address_is_read(given: str | Path, shown: str) -> None:
    assert is_address(given)
    assert str(Address.parse(given)) == shown


@pytest.mark.core
@pytest.mark.parametrize("given", ["runs/ads", "/runs/s3", "s3", "C:/ads", "a:b", "s3:ads", Path("runs"), None, 3])
def test_a_path_is_no_address(given: object) -> None:
    assert not is_address(given)


@pytest.mark.core
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("s4://b/x", "s4:// is no known kind of address; s3:// and gs:// are"),
        ("file:///x", "file:// is no known kind"),
        ("https://USER:PASS@host/x", "https:// is no known kind"),
        ("s3://USER:PASS@b/x", "must not hold credentials"),
        ("s3://PASS@b/x", "must not hold credentials"),
        ("s3://b/x?X-Amz-Signature=PASS", "must not hold credentials or options"),
        ("s3:///x", "names no bucket"),
        ("gs://", "names no bucket"),
        ("s3://b/../x", "'..' cannot name"),
        ("s3://b/x//y", "'' cannot name"),
        (f"s3://b/{'x' * 256}", "cannot name"),
    ],
)
def test_another_address_is_refused_without_its_credentials(
    given: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for command in (["runs", given], ["generate", "dvm", "--out", given], ["upgrade", given]):
        assert main(command) == 2
        out, err = capsys.readouterr()
        assert words in err
        assert len(err.splitlines()) == 1
        assert "PASS" not in out + err
    assert [path.name for path in tmp_path.rglob("*") if path.name not in ("cache", "buckets")] == []


@pytest.mark.core
@pytest.mark.parametrize(("scheme", "library", "extra"), [("s3", "s3fs", "s3"), ("gs", "gcsfs", "gcs")])
def test_the_missing_extra_is_named(
    scheme: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert main(["runs", f"{scheme}://b/runs"]) == 2
    assert f'{library} is not installed; run pip install "mmcl_jax[{extra}]"' in capsys.readouterr().err


@pytest.mark.core
def test_a_command_that_needs_a_folder_of_this_machine_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["upgrade", "s3://b/x"], ["quickstart", "--out", "s3://b/x"]):
        assert main(command) == 2
        assert "s3://b/x is in a bucket, and this needs a path on this machine" in capsys.readouterr().err


@pytest.mark.core
def test_an_error_names_its_option() -> None:
    with pytest.raises(UserError, match=r"^--out: s3:// names no bucket"):
        Address.parse("s3://", "--out: ")
