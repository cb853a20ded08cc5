"""The README's picture is drawn from the committed results."""

from pathlib import Path

from PIL import Image

from benchmarks.picture import draw

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_the_picture_is_that_of_the_docs(tmp_path: Path) -> None:
    for path in draw(tmp_path):
        with Image.open(path) as drawn, Image.open(DOCS / path.name) as committed:
            assert drawn.size == committed.size
