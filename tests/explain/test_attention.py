"""The attention of a fusion: planted columns look at planted regions; absent images and missing cells are left out."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.format.content import Content, Part
from mmcl_jax.data.format.writing import finish, write
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.schema import Column, Entry
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.errors import UserError
from mmcl_jax.explain import Explanation
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.run import explain_run
from mmcl_jax.training.runs.run import Run
from tests.data.many import numbers
from tests.explain.conftest import with_model

N, SIDE, WIDTH = 40, 8, 8
COLUMNS = ("size", "$price", "kind")
GRID = (2, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Images of 2 x 2 patches, and a table; some cells are missing, and some images."""
    rng, folder, order = np.random.default_rng(0), tmp_path_factory.mktemp("attention"), np.arange(N)
    table = np.column_stack([rng.normal(size=(N, 2)), order % 2])
    table[::3, 1] = np.nan
    at = np.where(order % 4 == 0, -1, order)
    columns = (*numbers("size", "$price"), Column(name="kind", kind="categorical", categories=("a", "b")))
    image = Entry(kind="image", shape=(SIDE, SIDE, 1), dtype="uint8")
    content = Content(
        parts={
            "image": Part(entry=image, values=rng.integers(0, 256, (N, SIDE, SIDE, 1), np.uint8), at=at),
            "table": Part(entry=Entry.table(columns), values=table, at=order),
        },
        id=order,
        keys=[f"row{row}" for row in order],
        splits={"train": order[:10], "val": order[10:20], "test": order[20:]},
        folds=[],
        group=order,
    )
    (folder / "store").mkdir()
    write(folder / "store", content, description="drawn")
    finish(folder / "store", made_by={"request": {}, "recipe": None})
    (folder / "store" / "quarantine.jsonl").touch()
    store = Store.open(folder / "store")
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "looks", str(store.directory), 8, 1
    config.cohort = "outer"
    config.inputs = {"image": input(), "table": input(missing="token")}
    config.views = {
        "image": view("resized"),
        "table": view("rows"),
        "fused": view("fused", of=("image.local", "table.local"), modality="both"),
        "plain": view("fused", of=("image", "table"), modality="plain"),
    }
    config.encoders = {
        "image": encoder("vit", width=WIDTH, depth=1, heads=1, patch=4),
        "table": encoder("table_transformer", width=WIDTH, heads=1, blocks=1),
        "both": encoder("cross_attention", width=WIDTH, heads=1, blocks=2),
        "plain": encoder("concat_mlp", hidden=4, features=4),
    }
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "table")}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return Run.begin(folder / "run", config, store, Inputs.fit(config.inputs, store))


LOOKS = {"size": 0, "$price": 3, "kind": 1}  # the region that each column looks at in the first block
LAST = 2  # and all of them in the last


def looking(model: Model) -> None:
    """Tokens of columns, and of regions, are one feature each; the queries of a column are the key of its region."""

    def zeroed(*kernels: Any) -> None:
        for kernel in kernels:
            kernel[...] = jnp.zeros_like(kernel[...])

    image, table, fusion = (model.encoders[name] for name in ("image", "table", "both"))
    units = 10 * jnp.eye(WIDTH)
    for tower in (image, table):
        (block,) = tower.blocks
        zeroed(block.attention.out.kernel, block.out.kernel)
    zeroed(image.patches.kernel, table.missing_token, table.categories, table.unknown)
    zeroed(*(leaf for leaf in vars(table.numbers).values() if hasattr(leaf, "shape")))
    image.positions[...] = units[None, :5]  # the class token has feature 0, and region r the feature r + 1
    table.columns[...] = units[:4]  # the class token has feature 0, and column c the feature c + 1
    fusion.inputs[0].kernel[...] = jnp.eye(WIDTH)
    for number, block in enumerate(fusion.blocks):
        zeroed(block.own.out.kernel, block.cross.out.kernel, block.out.kernel)
        regions = [LOOKS[name] for name in COLUMNS] if number == 0 else [LAST] * len(COLUMNS)
        query = jnp.zeros((WIDTH, WIDTH))
        for column, region in enumerate(regions):
            query = query.at[column + 1, region + 1].set(10.0)
        block.cross.query.kernel[...] = query
        block.cross.key_value.kernel[...] = jnp.eye(WIDTH, 2 * WIDTH)


@pytest.fixture
def planted(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    return with_model(run, looking, monkeypatch)


def explained(run: Run, folder: Path, **options: Any) -> Explanation:
    given = ExplainOptions(methods=("attention",), **{"top": 6, **options})
    (one,) = explain_run(run, run.store(), given, folder=folder)
    return one


def arrays_of(explanation: Explanation) -> dict[str, np.ndarray]:
    with np.load(explanation.directory / "attention.npz", allow_pickle=False) as file:
        return dict(file)


def test_every_column_looks_at_its_region(planted: Run, tmp_path: Path) -> None:
    """Half of the mean over two blocks, and all of the last; absent images and missing cells are in no average."""
    keys = set(planted.store().keys("test"))
    with_image = {key for key in keys if int(key.removeprefix("row")) % 4}
    explanation = explained(planted, tmp_path / "mean")
    found = arrays_of(explanation)
    assert found["tokens"].tolist() == ["class token", *COLUMNS]
    assert found["columns"].tolist() == [-1, 0, 1, 2]
    assert explanation.about["rows"] == len(with_image) < len(keys)
    priced = {key for key in with_image if int(key.removeprefix("row")) % 3}
    assert found["rows"].tolist() == [len(with_image), len(with_image), len(priced), len(with_image)]
    assert 0 < len(priced) < len(with_image)
    np.testing.assert_allclose(found["mean"].sum(axis=(1, 2)), 1, rtol=1e-5)
    for name, mean in zip(found["tokens"], found["mean"], strict=True):
        if name in LOOKS:
            expected = np.zeros(4)
            expected[[LOOKS[name], LAST]] = 0.5
            np.testing.assert_allclose(mean.ravel(), expected, atol=0.02, err_msg=name)
    for key, maps in zip(found["keys"], found["maps"], strict=True):
        assert key in with_image
        absent = np.isnan(maps).all(axis=(1, 2))
        assert absent.tolist() == [False, False, key not in priced, False]
        assert np.isfinite(maps[~absent]).all()
    lacking = len(keys) - len(with_image)
    notes = " ".join(explanation.about["notes"])
    assert f"{lacking} rows of test lack image or table, and are left out." in notes
    assert f"the fewest rows of a column are {len(priced)} of {len(with_image)}" in notes

    last = explained(planted, tmp_path / "last", attention="last")
    for name, mean in zip(found["tokens"], arrays_of(last)["mean"], strict=True):
        if name in LOOKS:
            assert mean.ravel()[LAST] > 0.95
    assert last.about["settings"] == {"attention": "last"}
    assert "size looks most at row 2, column 1 of the grid" in repr(last)
    tokens = {token["name"]: token for token in last.about["details"]["tokens"]}
    assert tokens["kind"]["region"] == [2, 1]
    assert tokens["kind"]["focus"] == pytest.approx(0.75, abs=0.05)
    assert [path.name for path in last.pictures] == [
        "regions.png", "columns.png", *(f"overlay-{number}.png" for number in range(1, 7)),
    ]  # fmt: skip
    for path, words in last.pictures.items():
        with Image.open(path) as picture:
            assert min(picture.size) > 100
        assert "$price" in words or path.stem.startswith("overlay")


def test_the_page_shows_columns_by_regions(planted: Run, tmp_path: Path) -> None:
    from mmcl_jax.report.sections.explained import _explanation

    text = str(_explanation(explained(planted, tmp_path, attention="last", top=1), "h3", old=False))
    for words in ("Attention of the columns of table in both to image", "Looks most at, of 2 x 2", "row 2, column 1"):
        assert words in text
    assert text.count("<img") == 3


REFUSED = {
    "attention": ({"attention": "first"}, "--attention: there is no attention 'first'.*mean, last"),
    "input": ({"inputs": ("table",)}, "the method 'attention' explains inputs of the kind image"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_options_are_one_sentence(case: str, planted: Run, tmp_path: Path) -> None:
    options, sentence = REFUSED[case]
    with pytest.raises(UserError, match=sentence):
        explained(planted, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_run_without_such_a_fusion(begun: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = with_model(begun, lambda model: None, monkeypatch)
    sentence = (
        r"^--method attention: no fusion of this run attends to the regions of 'image' \(its fusions: fused "
        r"\(concat_mlp\)\); train one with the encoder cross_attention .*, or use another method: ablation, "
    )
    with pytest.raises(UserError, match=sentence):
        explained(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
