"""Volumes on the patient's axes: reorientation, differing grids, resampling, and brain masks."""

from pathlib import Path

import numpy as np
import pytest

from mmcl_jax.data.affine import affine_of, nifti_axes
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.prepare.images.files import Fit
from mmcl_jax.prepare.images.grid import Grid, grid_of
from mmcl_jax.prepare.images.space import onto
from mmcl_jax.prepare.images.volume import read_volume
from mmcl_jax.prepare.make import prepare
from mmcl_jax.prepare.request import Request

nibabel = pytest.importorskip("nibabel")
AFFINE = np.array([[3.0, 0, 0, -9], [0, 2, 0, 4], [0, 0, 4, 7], [0, 0, 0, 1]])
VALUES = np.random.default_rng(0).integers(0, 4000, (4, 5, 6)).astype(np.int16)  # x, y, z


def write(path: Path, values: np.ndarray = VALUES, affine: np.ndarray | None = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def turned_copy(path: Path, axes: tuple[int, ...], flips: tuple[int, ...]) -> Path:
    """The same voxels at the same places, in another order in the file."""
    image = nibabel.Nifti1Image(VALUES, AFFINE)
    turn = np.array(list(zip(axes, flips, strict=True)), float)
    nibabel.save(image.as_reoriented(turn), path)
    return path


def prepared(folder: Path, out: str, rows: int = 3, **keys: object) -> Store:
    """A store of `folder/0.nii` and so on, with a label."""
    (folder / "people.csv").write_text("id,age\n" + "".join(f"{row},{50 + row}\n" for row in range(rows)))
    scan = {"kind": "volume", "folder": str(folder), "files": "{key}.nii", "bits": 16, "duplicates": "keep", **keys}
    request = Request.from_json(
        {
            "entries": {"scan": scan},
            "targets": {"age": {"kind": "number", "file": str(folder / "people.csv"), "key": "id", "column": "age"}},
            "split": (0.4, 0.3, 0.3),
            "max_bad": 0.5,
        }
    )
    return prepare(request, folder / out)


@pytest.mark.parametrize(
    ("axes", "flips"),
    [((0, 1, 2), (1, 1, 1)), ((0, 1, 2), (-1, 1, -1)), ((2, 0, 1), (1, -1, 1)), ((1, 2, 0), (-1,) * 3)],
)
def test_a_volume_is_turned_to_right_front_top(axes: tuple, flips: tuple, tmp_path: Path) -> None:
    path = turned_copy(tmp_path / "a.nii", axes, flips)
    made, size = read_volume(str(path), (6, 5, 4, 1), Fit(), "uint16")
    assert size == (6, 5, 4)
    np.testing.assert_array_equal(nifti_axes(made), VALUES)
    grid = grid_of(path, 1000)
    assert grid.same(Grid((6, 5, 4), tuple(AFFINE.ravel())))
    assert grid.spacing.tolist() == [3, 2, 4]


def test_the_store_holds_raw_values_and_the_affine(tmp_path: Path) -> None:
    for row, flips in enumerate([(1, 1, 1), (-1, 1, 1), (1, -1, -1)]):
        turned_copy(tmp_path / f"{row}.nii", (0, 1, 2), flips)
    store = prepared(tmp_path, "store")
    np.testing.assert_allclose(affine_of(store.schema, "scan"), AFFINE)
    assert store.schema.entries["scan"].dtype == "uint16"
    np.testing.assert_array_equal(nifti_axes(store.read("test", ["scan"])["scan"][0]), VALUES)
    small = prepared(tmp_path, "small", size=[3, 5, 2])
    affine = affine_of(small.schema, "scan")
    np.testing.assert_allclose(affine[:3, :3], np.diag([6, 2, 8]))
    np.testing.assert_allclose(affine[:3, 3], [-9 + 1.5, 4, 7 + 2])  # the first voxel is the middle of eight
    with pytest.raises(UserError, match="The store has no entry 'scam'"):
        affine_of(store.schema, "scam")


def test_volumes_without_a_valid_affine_are_refused(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VALUES, AFFINE)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "none.nii")
    with pytest.raises(UserError, match=r'none.nii has no affine .*"orientation": "file"'):
        read_volume(str(tmp_path / "none.nii"), (6, 5, 4, 1), Fit(), "uint16")
    flat = AFFINE.copy()
    flat[:, 2] = flat[:, 1]
    image = nibabel.Nifti1Image(VALUES, AFFINE)
    image.header["srow_y"], image.header["srow_z"] = flat[1], flat[2]
    image = nibabel.Nifti1Image(VALUES, None, image.header)
    image.header["srow_x"], image.header["sform_code"], image.header["qform_code"] = flat[0], 1, 0
    (tmp_path / "flat.nii").write_bytes(image.to_bytes())
    with pytest.raises(UserError, match=r"flat.nii has an affine that is not finite or not invertible"):
        read_volume(str(tmp_path / "flat.nii"), (6, 5, 4, 1), Fit(), "uint16")
    for row in range(3):
        (tmp_path / f"{row}.nii").write_bytes((tmp_path / "none.nii").read_bytes())
    with pytest.raises(UserError, match=r"0\.nii has no affine"):
        prepared(tmp_path, "store")
    store = prepared(tmp_path, "store", orientation="file")
    assert affine_of(store.schema, "scan") is None
    np.testing.assert_array_equal(nifti_axes(store.read("test", ["scan"])["scan"][0]), VALUES)


def test_differing_grids_are_named_and_resampled_on_request(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 3  # by one voxel to the right
    for row in range(3):
        write(tmp_path / f"{row}.nii", affine=moved if row == 1 else AFFINE)
    match = (
        r"entries.scan: The volume \S+1.nii has another grid: 4 x 5 x 6 voxels of 3 x 2 x 4 mm, the first at -6, 4, 7 "
        r'mm; \S+0.nii has 4 x 5 x 6 voxels .* at -9, 4, 7 mm; resample all volumes with "grid": "resample"'
    )
    with pytest.raises(UserError, match=match):
        prepared(tmp_path, "store")
    assert not (tmp_path / "store").exists()
    store = prepared(tmp_path, "store", grid="resample")
    np.testing.assert_allclose(affine_of(store.schema, "scan"), AFFINE)
    assert store.schema.entries["scan"].fit.endswith("volumes on other grids are resampled linearly")
    row = {
        key: store.read(split, ["scan"])["scan"][0] for split in ("train", "val", "test") for key in store.keys(split)
    }
    np.testing.assert_array_equal(nifti_axes(row["1"])[1:], VALUES[:-1])
    assert (nifti_axes(row["1"])[0] == VALUES.min()).all()
    by_file = prepared(tmp_path, "other", grid=str(tmp_path / "1.nii"))
    np.testing.assert_allclose(affine_of(by_file.schema, "scan"), moved)
    stretched = prepared(tmp_path, "stretched", size=[3, 3, 3])  # a size was asked for, so each is stretched to it
    assert affine_of(stretched.schema, "scan") is None


def test_resampling_is_linear_in_millimetres() -> None:
    """A ramp in mm keeps its values on a finer, shifted, turned grid."""
    own = Grid((8, 9, 10), tuple(AFFINE.ravel()))
    finer = Grid(
        (5, 6, 7), tuple((AFFINE @ np.diag([0.5, 0.7, 0.6, 1]) + np.pad([[2.0], [1.5], [3]], ((0, 1), (3, 0)))).ravel())
    )

    def ramp(grid: Grid) -> np.ndarray:
        k, j, i = np.indices(grid.shape)
        x, y, z, _ = np.tensordot(grid.matrix, np.stack([i, j, k, np.ones_like(i)]), 1)
        return (x + 2 * y - z)[..., None]

    np.testing.assert_allclose(onto(ramp(own), own, finer, order=1, antialias=False), ramp(finer), atol=1e-4)


def test_a_brain_mask(tmp_path: Path) -> None:
    for row in range(3):
        write(tmp_path / f"{row}.nii")
    inside = np.zeros(VALUES.shape, np.uint8)
    inside[1:3, 1:4] = 1
    masks = tmp_path / "masks"  # in the folder of the volumes they would be volumes of further keys
    masks.mkdir()
    mask = write(
        masks / "mask.nii", inside[::-1], AFFINE @ np.array([[-1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    )
    store = prepared(tmp_path, "store", brain_mask=str(mask))
    np.testing.assert_array_equal(nifti_axes(store.read("test", ["scan"])["scan"][0]), VALUES * inside)
    write(masks / "other.nii", inside, AFFINE + np.eye(4)[:, [0]] @ [[0, 0, 0, 2]])
    with pytest.raises(UserError, match=r"The brain mask \S+other.nii has another grid: .* the volumes have 4 x 5 x 6"):
        prepared(tmp_path, "again", brain_mask=str(masks / "other.nii"))
    with pytest.raises(UserError, match=r"absent.nii cannot be read"):
        prepared(tmp_path, "again", brain_mask=str(masks / "absent.nii"))


def test_later_volumes_lie_on_the_grid_of_the_earlier_store(tmp_path: Path) -> None:
    later = tmp_path / "later"
    later.mkdir()
    moved = AFFINE.copy()
    moved[1, 3] += 2
    for row in range(3):
        write(tmp_path / f"{row}.nii")
        write(later / f"{row}.nii", affine=moved)
    prepared(tmp_path, "store")
    scan = {"kind": "volume", "folder": str(later), "files": "{key}.nii", "duplicates": "keep"}
    request = Request.from_json({"like": tmp_path / "store", "entries": {"scan": scan}, "split": (0.4, 0.3, 0.3)})
    with pytest.raises(UserError, match=r"later/0\.nii has another grid: .*the earlier store has"):
        prepare(request, tmp_path / "new")
