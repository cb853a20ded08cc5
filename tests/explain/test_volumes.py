"""Explanations of volumes: gradients against autodiff, files in the patient's coordinates, and planted regions."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.schema import Entry
from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError
from mmcl_jax.explain.pictures.canonical import canonical_directions
from mmcl_jax.explain.pictures.stored import in_stored_grid
from mmcl_jax.explain.result import Explanation
from mmcl_jax.files import atomic
from mmcl_jax.training.runs.run import Run
from tests.objectives.lcg import lcg

nibabel = pytest.importorskip("nibabel")

ROWS, SHAPE = 96, (9, 8, 10)
PLANTED = (slice(3, 6), slice(2, 5), slice(5, 8))
AFFINE = np.array([[3.0, 0, 0, -12], [0, 3, 0, -9], [0, 0, 3, -6], [0, 0, 0, 1]])


def severities() -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 1, ROWS)


def store_of(directory: Path, affine: tuple[float, ...], *, train: int = 64) -> Store:
    """Two modalities of noise, gain and anatomy of their own, in which one region alone is shared: it is darker."""
    random, parts = np.random.default_rng(0), {}
    for name, contrast in (("t1", 900), ("falff", 700)):
        volumes = 1000 + random.normal(0, 60, (ROWS, *SHAPE, 1))
        volumes[(slice(None), *PLANTED)] -= contrast * severities().reshape(-1, 1, 1, 1, 1)
        volumes *= random.uniform(0.7, 1.4, (ROWS, 1, 1, 1, 1))
        entry = Entry(kind="volume", shape=(*SHAPE, 1), dtype="uint16", affine=affine)
        parts[name] = Part(entry=entry, values=np.clip(volumes, 0, 65535).astype(np.uint16))
    content = Content(
        parts=parts,
        id=np.arange(ROWS),
        keys=[f"p{row}" for row in range(ROWS)],
        splits={"train": np.arange(train), "val": np.arange(train, 72), "test": np.arange(72, ROWS)},
    )
    with atomic(directory) as partial:
        partial.mkdir(parents=True)
        write(partial, content, description="Heads")
        finish(partial)
    return Store.open(directory)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("heads") / "store", tuple(AFFINE.ravel().tolist()))


@pytest.fixture(scope="module")
def run(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short pretraining on scans, whose window is the stored volume.

    Without histograms: the shared region is the darkest of every volume, and outer quantiles are all mapped alike.
    """
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "heads", str(store.directory), 32, 40
    config.batch_norm.group_size, config.monitor.epochs = 32, None
    config.inputs = {"t1": input(), "falff": input()}
    scan = {"histogram": "none", "mask": True, "pad": 1, "flip": (0.0, 0.0, 0.0)}
    config.views = {name: view("scan", modality=name, **scan) for name in ("t1", "falff")}
    config.encoders = {name: encoder("cnn3d", channels=(8, 8)) for name in ("t1", "falff")}
    config.projectors = {name: projector("linear", out=8) for name in ("t1", "falff")}
    config.objective = (term("clip", between=("t1", "falff"), temperature=0.3),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", learning_rate=1e-2)
    return mj.pretrain(config, workdir=tmp_path_factory.mktemp("run") / "run")


def written_atlas(folder: Path, *, affine: np.ndarray = AFFINE, shape: tuple[int, ...] = SHAPE) -> tuple[Path, Path]:
    """Eight octants and the planted region, as a NIfTI file and a table of names; its x axis runs to the left."""
    labels = np.zeros(shape, np.int16)
    for number in range(8):
        halves = zip(shape, (number & 1, number & 2, number & 4), strict=True)
        part = [slice(None, length // 2) if low else slice(length // 2, None) for length, low in halves]
        labels[tuple(part)] = number + 1
    labels[PLANTED] = 9
    turned = affine @ np.array([[-1, 0, 0, shape[2] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(labels.transpose(2, 1, 0)[::-1], turned), folder / "atlas.nii.gz")
    names = "".join(f"{number}\toctant {number}\n" for number in range(1, 9))
    (folder / "names.tsv").write_text(f"index\tname\n{names}9\tplanted\n")
    return folder / "atlas.nii.gz", folder / "names.tsv"


@pytest.fixture(scope="module")
def found(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Explanation]:
    folder = tmp_path_factory.mktemp("explained")
    atlas, names = written_atlas(folder)
    explanations = mj.explain(
        run, method=["saliency", "canonical"], atlas=atlas, atlas_names=names, rows=16, directions=2, out=folder / "out"
    )
    return {(one.method, one.about["input"]): one for one in explanations}


def test_the_shared_region_is_what_the_first_canonical_direction_sees(found: dict) -> None:
    for name in ("t1", "falff"):
        about = found["canonical", name].about
        ranked = sorted(about["columns"], key=lambda column: column["rank"])
        assert ranked[0]["name"] == "planted", [(column["name"], column["share"]) for column in ranked]
        assert ranked[0]["share"] > 2 * ranked[1]["share"]
        assert about["details"]["correlations"][0] > 0.8
        assert about["details"]["correlations_explained"][0] > 0.8
        assert about["details"]["partner"] == {"t1": "falff", "falff": "t1"}[name]


def test_files_are_in_the_grid_and_the_coordinates_of_the_store(found: dict) -> None:
    one = found["canonical", "t1"]
    for name in ("absolute", "signed", "effect"):
        image = nibabel.load(one.directory / f"{name}.nii.gz")
        np.testing.assert_array_equal(image.affine, AFFINE)
        array = np.load(one.directory / f"{name}.npy")
        assert array.shape == (2, *SHAPE)
        np.testing.assert_array_equal(np.asarray(image.dataobj).transpose(3, 2, 1, 0), array)
    effect = np.load(one.directory / "effect.npy")
    lines = [line.split("\t") for line in (one.directory / "regions.tsv").read_text().splitlines()]
    assert lines[0] == ["region", "name", "voxels", "density", "share", "mean", "direction 1", "direction 2"]
    planted = next(line for line in lines if line[1] == "planted")
    inside = effect[(slice(None), *PLANTED)]
    assert int(planted[2]) == inside[0].size
    np.testing.assert_allclose(
        [float(cell) for cell in planted[3:5] + planted[6:]],
        [inside.mean(), inside.sum() / effect.sum(), *inside.mean(axis=(1, 2, 3))],
        rtol=1e-4,
    )
    files = {picture["file"] for picture in one.about["pictures"]}
    assert files == {"mean.png", "output-1.png", "output-2.png"}
    assert "axial, coronal and sagittal slices" in one.about["pictures"][0]["alternative"]
    assert " mm; above" in one.about["pictures"][0]["alternative"]


def test_saliency_is_the_gradient_of_each_dimension(found: dict, run: Run, store: Store) -> None:
    one = found["saliency", "t1"]
    rows = np.asarray(store.read("test", ["t1"])["t1"][:])
    keys = one.about["rows"]
    chosen = np.sort(np.random.default_rng(0).choice(len(rows), keys, replace=False))
    module = run.model().encoders["t1"]
    plain = mj.views.scan(modality="t1", histogram="none", mask=True)
    seen = plain(jnp.asarray(rows[chosen]), train=False, **run.inputs.fitted["t1"]).values
    gradients = jax.jit(jax.vmap(jax.jacrev(lambda x: module.body(module.embed(x[None]), train=False).pooled[0])))(
        seen
    )[..., 0]
    absolute = np.load(one.directory / "absolute.npy")
    np.testing.assert_allclose(absolute, np.abs(gradients).mean(axis=0), atol=2e-5 * absolute.max())
    np.testing.assert_allclose(
        np.load(one.directory / "signed.npy"), gradients.mean(axis=0), atol=2e-5 * absolute.max()
    )
    train = np.asarray(store.read("train", ["t1"])["t1"][:])
    mean = plain(jnp.asarray(train), train=False, **run.inputs.fitted["t1"]).values.mean(axis=0)
    effect = np.abs(gradients * (seen - mean[None])[:, None, ..., 0]).mean(axis=0)
    np.testing.assert_allclose(np.load(one.directory / "effect.npy"), effect, atol=2e-5 * float(effect.max()))
    totals = [output["total"] for output in one.about["details"]["outputs"]]
    np.testing.assert_allclose(totals, effect.sum(axis=(1, 2, 3)), rtol=1e-4)


def test_a_dimension_is_explained_by_integrated_gradients_that_are_complete(run: Run, tmp_path: Path) -> None:
    (one,) = mj.explain(
        run, method="integrated_gradients", input="falff", dimension=3, rows=4, baseline="mean", out=tmp_path, steps=16
    )
    assert one.about["of"] == "the dimension 3 of the embedding"
    maps, frame = np.load(one.directory / "maps.npy"), one.attributions()
    assert maps.shape == (4, *SHAPE)
    np.testing.assert_allclose(maps.sum(axis=(1, 2, 3)) + frame["error"].to_numpy(), frame["change"], atol=1e-5)
    np.testing.assert_allclose(np.load(one.directory / "signed.npy")[0], maps.mean(axis=0), atol=1e-7)
    with pytest.raises(UserError, match="the pixels of falff are explained for one number, and there are 8"):
        mj.explain(run, method="integrated_gradients", input="falff", out=tmp_path)


def test_noise_is_averaged_over_and_chosen_dimensions_are_those_of_all(run: Run, found: dict, tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": "saliency", "input": "t1", "rows": 16, "dimension": (5, 1)}
    (plain,) = mj.explain(run, **options, out=tmp_path / "plain")
    every = np.load(found["saliency", "t1"].directory / "absolute.npy")
    np.testing.assert_allclose(np.load(plain.directory / "absolute.npy"), every[[5, 1]], rtol=1e-4, atol=1e-9)
    (noisy,) = mj.explain(run, **options, noise_samples=2, noise_std=0.5, out=tmp_path / "noisy")
    assert noisy.about["settings"]["noise"] == {"samples": 2, "std": 0.5, "seed": 0}
    assert not np.allclose(np.load(noisy.directory / "absolute.npy"), every[[5, 1]], rtol=1e-2)


def test_an_atlas_of_another_grid_and_other_bad_input_is_one_sentence(run: Run, store: Store, tmp_path: Path) -> None:
    def refused(match: str, **options: Any) -> None:
        with pytest.raises(UserError, match=match):
            mj.explain(run, **{"method": "saliency", "input": "t1", "out": tmp_path / "out", **options})
        assert not list(tmp_path.glob("out/*"))

    moved = AFFINE.copy()
    moved[0, 3] += 3
    other: tuple[dict[str, Any], ...] = ({"affine": moved}, {"shape": (8, 8, 10)})
    for changed, match in zip(
        other, ("10 x 8 x 9 voxels of 3 x 3 x 3 mm, the first at -9, -9", "10 x 8 x 8"), strict=True
    ):
        atlas, names = written_atlas(tmp_path, **changed)
        refused(f"--atlas: .* has {match}.*, and 't1' has 10 x 8 x 9", atlas=atlas, atlas_names=names)
    atlas, names = written_atlas(tmp_path)
    lines = names.read_text().splitlines()
    for text, match in (
        ("\n".join(lines[:-1]), "has no line for the region 9"),
        ("\n".join([*lines, "9\tagain"]), "has the region 9 twice"),
        ("\n".join([*lines, "ten"]), "line 11 of .* is no number and name"),
        ("name\n", "does not begin so"),
    ):
        names.write_text(text)
        refused(match, atlas=atlas, atlas_names=names)
    refused("they name the regions of an atlas; give --atlas", atlas_names=names)
    refused("it is the explained input; choose another", method="canonical", partner="t1")
    refused("there is no input 'flair'", method="canonical", partner="flair")
    refused("the embeddings have 8 directions in common", method="canonical", directions=9)
    refused("the embedding has the dimensions 0 to 7, not 8", dimension=8)
    few = store_of(tmp_path / "few", (), train=8)
    refused("8 training rows with t1 and falff cannot give canonical directions", method="canonical", store=few)


def test_a_store_without_an_affine_has_arrays_and_no_nifti(run: Run, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store", ())
    (one,) = mj.explain(run, method="saliency", input="t1", store=store, rows=4, out=tmp_path / "out")
    assert (one.directory / "effect.npy").is_file()
    assert not list(one.directory.glob("*.nii.gz"))
    assert any("has no affine in the store" in note for note in one.about["notes"])
    atlas, _ = written_atlas(tmp_path)
    with pytest.raises(UserError, match="'t1' has no affine in the store, so that no atlas can be laid over it"):
        mj.explain(run, method="saliency", input="t1", store=store, atlas=atlas, out=tmp_path / "other")


def test_maps_of_a_resized_window_lie_where_the_view_looked() -> None:
    maps = np.arange(8.0).reshape(1, 2, 2, 2)
    doubled = np.hstack([2 * np.eye(3), np.full((3, 1), 0.5)])  # voxels 0 and 1 of the store are voxel 0 of the view
    stored = in_stored_grid(maps, doubled, (4, 4, 5))
    assert stored.shape == (1, 4, 4, 5)
    assert (stored[..., 4] == 0).all()
    np.testing.assert_allclose(stored[0, 0, 0, :4], [0, 0.25, 0.75, 1])


def test_canonical_correlations_are_the_golden_values() -> None:
    x = lcg((20, 4), 51).astype(np.float64)
    y = x @ lcg((4, 4), 53) + 0.3 * lcg((20, 4), 52)
    own, other, correlations = canonical_directions(x, y, count=4, ridge=0.0)
    np.testing.assert_allclose(correlations, [0.944196, 0.869493, 0.655259, 0.157965], atol=1e-6)
    np.testing.assert_allclose((x @ own).var(axis=0, ddof=1), 1, rtol=1e-9)
    between = np.corrcoef((x @ own).T, (y @ other).T)
    np.testing.assert_allclose(between - np.eye(8), np.kron([[0, 1], [1, 0]], np.diag(correlations)), atol=1e-9)
