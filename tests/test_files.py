"""Files that are there whole or not at all."""

from pathlib import Path

import pytest

from mmcl_jax.files import write_text

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
