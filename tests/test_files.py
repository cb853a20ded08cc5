"""Files that are there whole or not at all."""

from pathlib import Path

import pytest

from mmcl_jax.files import atomic, write_text

pytestmark = pytest.mark.core


@pytest.mark.parametrize("text", ["cannot be encoded: \ud800", "cannot be moved"])
def test_a_text_that_cannot_be_written_leaves_what_was_there(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    if text == "cannot be moved":
        path.mkdir()
    else:
        path.write_text("before")
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_text(path, text)
    assert [one.name for one in tmp_path.iterdir()] == ["file.json"]
    assert path.is_dir() or path.read_text() == "before"


@pytest.mark.parametrize("folder", [False, True])
def test_a_file_or_folder_appears_when_it_is_whole(folder: bool, tmp_path: Path) -> None:
    """What a call that was killed left is no part of it, and what raises leaves nothing."""
    path = tmp_path / "made"

    def write(partial: Path, text: str) -> None:
        if folder:
            partial.mkdir()
        (partial / "file" if folder else partial).write_text(text)

    write(path.with_name(".made.partial"), "left by a call that was killed")

    def stopped() -> None:
        with atomic(path) as partial:
            write(partial, "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not list(tmp_path.iterdir())
    with atomic(path) as partial:
        write(partial, "all")
        assert not path.exists()
    assert [one.name for one in tmp_path.iterdir()] == ["made"]
    assert (path / "file" if folder else path).read_text() == "all"
