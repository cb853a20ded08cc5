"""The preprocessing in PyTorch is that of the run: tables under every policy, and images that are resized."""

import itertools
from typing import Any

import jax
import numpy as np
import pytest

from mmcl_jax.data.schema import Column, Schema
from mmcl_jax.data.table.encoding import MISSING_POLICIES, OUTSIDE_POLICIES, Encoding
from mmcl_jax.data.table.statistics import Statistics
from mmcl_jax.export.preprocessing import table_arrays, table_columns
from mmcl_jax.views import resized

pytestmark = pytest.mark.foreign
LETTERS = ("a", "b", "c", "never")
COLUMNS = (
    Column(name="number", kind="continuous"),
    Column(name="price", kind="continuous", scaling="log"),
    Column(name="skewed", kind="continuous", scaling="quantile"),
    Column(name="steps", kind="continuous", scaling="quantile"),
    Column(name="empty", kind="continuous", scaling="quantile"),
    Column(name="colour", kind="categorical", categories=LETTERS),
    Column(name="grade", kind="ordinal", categories=LETTERS[:3]),
    Column(name="sold", kind="boolean", categories=("no", "yes")),
    Column(name="day", kind="date"),
)


def raw_rows(rng: np.random.Generator, rows: int, *, spread: float = 1.0, missing: float = 0.1) -> np.ndarray:
    """Raw rows `[N, F]`; a larger spread gives numbers beyond those of the training rows."""
    table = np.column_stack(
        [
            rng.normal(5, 3 * spread, rows),
            np.exp(rng.normal(0, spread, rows)),
            spread * rng.exponential(size=rows) ** 3,
            rng.integers(0, 4, rows),  # many equal values
            np.full(rows, np.nan),
            rng.integers(0, 3 if spread == 1 else 4, rows),
            rng.integers(0, 3, rows),
            rng.integers(0, 2, rows),
            rng.integers(10_000, 20_000, rows),
        ]
    )
    table[rng.uniform(size=table.shape) < missing] = np.nan
    return table


@pytest.mark.parametrize(("missing", "outside"), list(itertools.product(MISSING_POLICIES, OUTSIDE_POLICIES)))
def test_raw_rows_are_encoded_as_the_run_encodes_them(missing: str, outside: str) -> None:
    torch = pytest.importorskip("torch")
    from mmcl_jax.export.modeling_torch.preprocessing import TableRows

    rng, schema = np.random.default_rng(0), Schema(columns=COLUMNS)
    train, new = raw_rows(rng, 200), raw_rows(rng, 300, spread=2.5)
    new[:4, 3] = (0, 3, -1, 4)  # the ends of a column with many equal values, and beyond
    statistics = Statistics.fit(train, schema)
    encoding = Encoding.fit(train, schema, statistics, missing=missing, outside=outside)
    spec = {"columns": table_columns(encoding), "missing": missing, "outside": outside}
    module = TableRows(spec, {name: torch.from_numpy(array) for name, array in table_arrays(encoding).items()})
    # "refuse" leaves NaN, too, before it is refused.
    ours = Encoding(**{**vars(encoding), "missing": "indicator"}) if missing == "refuse" else encoding
    np.testing.assert_allclose(module(torch.from_numpy(new)).numpy(), ours.encode(new), rtol=1e-5, atol=1e-5)


def export_of(torch: Any, encoders: dict | None = None, arrays: dict | None = None, **inputs: dict) -> Any:
    """The modules of a card with these inputs, alone or with encoders of any weights."""
    from mmcl_jax.export.modeling_torch.export import Export

    card = {"batch_norm": {"epsilon": 1e-5}, "projectors": {}, "head": None, "preprocessing": inputs}
    torch.manual_seed(0)
    return Export({**card, "encoders": encoders or {}}, arrays or {})


def test_rows_of_several_images_have_the_mean_of_their_features() -> None:
    torch = pytest.importorskip("torch")
    image = {"kind": "image", "dtype": "uint8", "shape": [8, 8, 3], "divide_by": 255, "size": [8, 8], "images": 3}
    encoder = {"name": "cnn", "kind": "image", "reads": ["image"], "shape": [8, 8, 3], "options": {"channels": [4]}}
    mixed = {"name": "concat_mlp", "kind": "fusion", "reads": ["image", "pgs"], "of": ["image.local", "pgs"],
             "parts": [4, 2], "options": {"hidden": 4, "features": 2, "layers": 2}}  # fmt: skip
    scores = {"name": "vector_mlp", "kind": "vector", "reads": ["pgs"], "shape": [2], "widths": [],
              "options": {"hidden": 4, "features": 2, "layers": 2}}  # fmt: skip
    inputs = {"image": image, "pgs": {"kind": "vector", "dtype": "float32", "shape": [2]}}
    moments = {"pgs/mean": torch.zeros(2), "pgs/std": torch.ones(2)}
    export = export_of(torch, {"image": encoder, "mixed": mixed, "pgs": scores}, moments, **inputs).eval()
    rows = {"image": torch.randint(0, 256, (2, 3, 8, 8, 3), dtype=torch.uint8), "pgs": torch.randn(2, 2)}
    found = export(rows)
    one_image = export_of(torch, export.card["encoders"], moments, **{**inputs, "image": {**image, "images": 1}}).eval()
    one_image.load_state_dict(export.state_dict())
    singly = [one_image({"image": rows["image"][:, index], "pgs": rows["pgs"]}) for index in range(3)]
    for name in ("image", "mixed", "pgs"):
        expected = torch.stack([one[name] for one in singly]).mean(0)
        torch.testing.assert_close(found[name], expected)


def test_cells_become_raw_rows() -> None:
    torch = pytest.importorskip("torch")
    rows = raw_rows(np.random.default_rng(0), 50, missing=0)[:, [0, 1, 5]]
    schema = Schema(columns=(*COLUMNS[:2], COLUMNS[5]))
    fitted = Encoding.fit(rows, schema, Statistics.fit(rows, schema), missing="refuse")
    spec = {"kind": "table", "columns": table_columns(fitted), "missing": "refuse", "outside": "keep"}
    export = export_of(torch, table=spec)
    found = export.rows("table", [{"number": 4, "price": 2.5, "colour": "b"}])
    np.testing.assert_allclose(found.numpy(), fitted.encode(np.array([[4, 2.5, 1]])), rtol=1e-6)
    for cells, sentence in (
        ({"number": 4, "price": 2.5, "colour": "never"}, "'colour' has a missing value"),
        ({"number": 4, "price": 2.5}, "'colour' has a missing value"),
        ({"number": 4, "price": -1, "colour": "a"}, "'price' has a value without a logarithm"),
    ):
        with pytest.raises(ValueError, match=sentence):
            export.rows("table", [cells])


@pytest.mark.parametrize("size", [(97, 61), (40, 25), (96, 62), (150, 100)])
def test_stripes_of_one_pixel_are_resized_alike(size: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    stripes = np.zeros((2, 97, 61, 3), np.uint8)
    stripes[0, ::2], stripes[1, :, 1::2] = 255, 255
    stripes[..., 1] = 255 - stripes[..., 1]
    spec = {"kind": "image", "dtype": "uint8", "shape": [97, 61, 3], "divide_by": 255, "size": list(size)}
    found = export_of(torch, image=spec).view("image", torch.from_numpy(stripes))
    expected = resized(size=size)(stripes, jax.random.key(0), train=False).values
    np.testing.assert_allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-5)
