"""Image folders full of links, as caches of data sets make them, absolute paths, and images without numbers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmcl_jax.cli.main import main
from mmcl_jax.data.store import Store
from mmcl_jax.prepare.images.files import locate
from mmcl_jax.prepare.images.unusable import Unusable
from mmcl_jax.prepare.request import Request

ROWS = 40


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache as it lies on disk: names in `snapshots`, which are links to files in `blobs`; and a table."""
    rng = np.random.default_rng(0)
    for folder in ("blobs", "snapshots/v1", "other"):
        (tmp_path / folder).mkdir(parents=True)
    for row in range(ROWS):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "blobs" / f"{row:08x}", "PNG")
        (tmp_path / "snapshots" / "v1" / f"{row}.png").symlink_to(f"../../blobs/{row:08x}")
    lines = [f"{row}.png,{row * 7 % 11}.5" for row in range(ROWS)]
    (tmp_path / "table.csv").write_text("\n".join(["file,x", *lines]) + "\n")
    return tmp_path


def command(cache: Path, *more: str) -> list[str]:
    images = cache / "snapshots" / "v1"
    base = ["prepare", "--table", str(cache / "table.csv"), "--images", str(images), "--image-column", "file"]
    return [*base, "--workers", "1", "--out", str(cache / "store"), *more]


def test_links_to_a_named_folder_are_followed(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(cache)) == 2
    error = capsys.readouterr().err
    assert "leaves the image folder" in error
    assert "allow it with --follow-links" in error
    assert str(cache / "blobs") in error
    assert main(command(cache, "--follow-links", str(cache / "other"))) == 2
    assert "--follow-links" in capsys.readouterr().err
    assert not (cache / "store").exists()
    assert main(command(cache, "--follow-links", str(cache / "nowhere"))) == 2
    assert f"--follow-links: the folder {cache / 'nowhere'} does not exist" in capsys.readouterr().err
    assert main(command(cache, "--follow-links", str(cache / "blobs"))) == 0
    store = Store.open(cache / "store")
    assert sum(store.sizes.values()) == ROWS
    request = Request.read(cache / "store" / "store.json", {})
    assert request.follow_links == cache / "blobs"


def test_what_links_may_not_do(cache: Path) -> None:
    images, blobs, other = (cache / name for name in ("snapshots/v1", "blobs", "other"))
    Image.new("L", (8, 8)).save(other / "x.png")
    (blobs / "out").symlink_to(other / "x.png")
    (images / "chain.png").symlink_to(blobs / "out")  # by way of the allowed folder to another
    (images / "beside").symlink_to(other)
    (cache / "blobs2").mkdir()
    (images / "prefix.png").symlink_to(cache / "blobs2" / "x.png")
    for name in ("chain.png", "beside/x.png", "prefix.png", "../../other/x.png", str(other / "x.png")):
        with pytest.raises(Unusable) as error:
            locate(str(images), name, str(blobs))
        assert error.value.cause == "unsafe path"
    assert locate(str(images), "0.png", str(blobs)) == str(images / "0.png")
    with pytest.raises(Unusable, match="allow it with --follow-links"):
        locate(str(images), str(images / "0.png"))
    assert locate(str(images), str(images / "0.png"), str(blobs)) == str(images / "0.png")
    (images / "folder").symlink_to(blobs)
    assert locate(str(images), f"folder/{0:08x}", str(blobs)) == str(images / "folder" / f"{0:08x}")


def test_absolute_paths_inside_of_the_image_folder(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the folder is reached by a link, as home directories are."""
    (cache / "short").symlink_to(cache / "blobs")
    for folder in (cache / "blobs", cache / "short"):
        lines = [f"{folder}/{row:08x},{row * 7 % 11}.5" for row in range(ROWS)]
        (cache / "absolute.csv").write_text("\n".join(["file,x", *lines]) + "\n")
        out = cache / f"store of {folder.name}"
        base = ["prepare", "--table", str(cache / "absolute.csv"), "--images", str(folder), "--image-column", "file"]
        assert main([*base, "--workers", "1", "--out", str(out)]) == 0, capsys.readouterr().err
        assert sum(Store.open(out).sizes.values()) == ROWS


def test_images_with_values_that_are_not_finite(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nibabel = pytest.importorskip("nibabel")
    rng = np.random.default_rng(0)
    lines = ["file,x"]
    for row in range(ROWS):
        values = rng.normal(size=(8, 8, 3)).astype(np.float32)
        values[0] = np.nan
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / f"{row}.nii.gz")
        lines.append(f"{row}.nii.gz,{row * 7 % 11}.5")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    base = ["prepare", "--table", str(tmp_path / "table.csv"), "--images", str(tmp_path), "--image-column", "file"]
    base += ["--workers", "1", "--out", str(tmp_path / "store")]
    assert main(base) == 2
    assert "not finite; --nan background makes those pixels black" in capsys.readouterr().err
    assert main([*base, "--max-pixels", "63"]) == 2
    assert "claims 8 x 8 pixels; more than 63 are refused" in capsys.readouterr().err
    assert main([*base, "--nan", "background"]) == 0
    pixels = np.load(tmp_path / "store" / "flat" / "image.npy")
    assert not pixels[:, :, 0].any()  # the first of x is the left column
    assert (pixels.max(axis=(1, 2, 3)) == 255).all()
