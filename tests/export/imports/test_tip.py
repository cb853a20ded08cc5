"""Checkpoints of TIP's released code become runs of ours with the same outputs."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import mmcl_jax as mj
from mmcl_jax.config import load
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.fusions import part_of
from mmcl_jax.encoders.torch_names import leaves_of
from mmcl_jax.errors import UserError
from mmcl_jax.export.imports.released import read_released
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.state.initial_weights import recorded
from tests.encoders.weights import made
from tests.export.imports.test_released import drawn, linear, resnet18

WIDTH, OUT = 8, 4
CATEGORIES, NUMBERS = [3, 2], 2  # gearbox and fuel; price and seats, which stand between them in the store
ORDER = [0, 3, 1, 2]  # of the columns of the store, in TIP
OVERRIDES = [
    "encoders.image.name=resnet18", "encoders.image.width=0.0625", "views.image.size=None", "batch_size=8",
    "batch_norm.group_size=8",
    *(f"encoders.{one}.{size}" for one in ("table", "fusion") for size in (f"width={WIDTH}", "heads=2", "blocks=2")),
    *(f"projectors.{one}.{size}" for one in ("image", "table") for size in (f"hidden={WIDTH}", f"out={OUT}")),
]  # fmt: skip


def layer_norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


def block(name: str, *, cross: bool) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}.attn.qkv.weight": (3 * WIDTH, WIDTH), **linear(f"{name}.attn.proj", WIDTH, WIDTH)}
    shapes |= layer_norm(f"{name}.norm1") | layer_norm(f"{name}.norm2")
    shapes |= linear(f"{name}.mlp.fc1", WIDTH, 4 * WIDTH) | linear(f"{name}.mlp.fc2", 4 * WIDTH, WIDTH)
    if cross:
        shapes |= {f"{name}.cross_attn.kv_proj.weight": (2 * WIDTH, WIDTH), **layer_norm(f"{name}.cross_norm")}
        shapes |= linear(f"{name}.cross_attn.q_proj", WIDTH, WIDTH) | linear(f"{name}.cross_attn.proj", WIDTH, WIDTH)
    return shapes


# The state dict of TIP3Loss, in the layout that the facts of the released code state.
TABLE, FUSION = "encoder_tabular", "encoder_multimodal"
TIP = {
    **resnet18("encoder_imaging"),
    **linear("projector_imaging.layers.0", 32, WIDTH), **linear("projector_imaging.layers.2", WIDTH, OUT),
    f"{TABLE}.cls_token": (1, 1, WIDTH), f"{TABLE}.mask_special_token": (1, 1, WIDTH),
    f"{TABLE}.cat_embedding.weight": (sum(CATEGORIES), WIDTH), **linear(f"{TABLE}.con_proj", 1, WIDTH),
    f"{TABLE}.column_embedding.weight": (5, WIDTH), **layer_norm(f"{TABLE}.norm"),
    **block(f"{TABLE}.transformer_blocks.0", cross=False), **block(f"{TABLE}.transformer_blocks.1", cross=False),
    **linear("projector_tabular.layers.0", WIDTH, WIDTH), **linear("projector_tabular.layers.2", WIDTH, OUT),
    **linear(f"{FUSION}.image_proj", 32, WIDTH), **layer_norm(f"{FUSION}.image_norm"), **layer_norm(f"{FUSION}.norm"),
    **block(f"{FUSION}.transformer_blocks.0", cross=True), **block(f"{FUSION}.transformer_blocks.1", cross=True),
    **linear("predictor_tabular.cat_classifier", WIDTH, sum(CATEGORIES)),
    **linear("predictor_tabular.con_regressor", WIDTH, 1), **linear("itm_head", WIDTH, 2),
}  # fmt: skip


@pytest.fixture(scope="module")
def shapes_of(store: mj.Store) -> Callable[..., Model]:
    """The shapes of the model of an experiment on the store."""

    @functools.cache
    def shapes(name: str, *overrides: str) -> Model:
        chosen = [one for one in OVERRIDES if name == "tip/tip" or not one.startswith("projectors")]
        experiment = build_experiment(load(name, [f"data={store.directory}", *chosen, *overrides]), store)
        return nnx.merge(experiment.graphdef, *jax.eval_shape(experiment.init, 0).weights())

    return shapes


def test_every_tensor_is_used_or_named(shapes_of: Callable[..., Model], tmp_path: Path) -> None:
    state = drawn(TIP)
    extra = drawn(linear("criterion.head", 2, 2))
    weights = read_released(
        made.save(tmp_path / "last.ckpt", {**state, **extra}, nested="state_dict"), shapes_of("tip/tip")
    )
    record = weights.records["checkpoint"]
    assert (record["tensors"], record["left_out"]) == (len(TIP), list(extra))
    assert record["initial"] == ["encoders.table.unknown"]
    arrays = {".".join(leaf): array for leaf, array in leaves_of(*weights.arrays)}
    split = sum(".qkv." in name for name in TIP)  # are two arrays of ours
    assert len(arrays) == sum(not name.endswith("tracked") for name in TIP) + split
    assert {leaf.size for leaf in arrays.values()} > {WIDTH * 4 * WIDTH}
    columns = state[f"{TABLE}.column_embedding.weight"]
    np.testing.assert_array_equal(arrays["encoders.table.columns"][1:][ORDER], columns[1:])
    qkv = state[f"{FUSION}.transformer_blocks.1.attn.qkv.weight"]
    np.testing.assert_array_equal(arrays["encoders.fusion.blocks.1.own.key_value.kernel"], qkv[WIDTH:].T)


def test_a_fine_tuned_model_has_encoders_alone(shapes_of: Callable[..., Model], tmp_path: Path) -> None:
    tuned = {f"model.{name}": shape for name, shape in TIP.items() if name.startswith("encoder")}
    classifier = linear("model.classifier", WIDTH, 4)
    weights = read_released(made.save(tmp_path / "w.ckpt", drawn(tuned | classifier)), shapes_of("tip/scratch"))
    record = weights.records["checkpoint"]
    assert (record["tensors"], record["left_out"]) == (len(tuned), list(classifier))
    assert record["initial"] == ["heads.term_0", "encoders.table.unknown"]


@pytest.mark.parametrize(
    ("overrides", "change", "sentence"),
    [
        ([], lambda s: {k: v for k, v in s.items() if TABLE not in k},
         r"has no tensors encoder_tabular\.\* for config\.encoders\.table; it has "),
        ([], lambda s: {**s, f"{TABLE}.column_embedding.weight": np.ones((6, WIDTH), np.float32)},
         r"'encoder_tabular\.column_embedding\.weight' is of shape \[6, 8\], and the encoder needs \[5, 8\]"),
        ([], lambda s: {k: v for k, v in s.items() if k != f"{TABLE}.cls_token"}, r"it lacks encoder_tabular\.cls_"),
        ([], lambda s: {**s, f"{FUSION}.extra": np.ones(2, np.float32)}, r"encoder_multimodal\.extra, which the enc"),
        (["encoders.fusion.form=symmetric"], dict, r"config\.encoders\.fusion\.form: .* set it to 'tip'"),
        (["encoders.table.numbers=periodic"], dict, r"config\.encoders\.table\.numbers: .* set it to 'linear'"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit(
    shapes_of: Callable[..., Model], tmp_path: Path, overrides: list[str], change: Any, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        read_released(made.save(tmp_path / "w.ckpt", change(drawn(TIP))), shapes_of("tip/tip", *overrides))


@pytest.mark.foreign
def test_outputs_equal_those_of_pytorch(store: mj.Store, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from . import tip_model

    torch.manual_seed(0)
    theirs = tip_model.TIP(CATEGORIES, NUMBERS, base=4, width=WIDTH, heads=2, blocks=2, out=OUT).eval()
    assert {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()} == TIP
    torch.save({"epoch": 499, "state_dict": theirs.state_dict()}, tmp_path / "last.ckpt")
    overrides = {key: value for key, _, value in (one.partition("=") for one in OVERRIDES)}
    run = mj.import_weights(
        tmp_path / "last.ckpt", "tip/tip", tmp_path / "run", data=store.directory, **{"overrides": overrides}
    )
    assert recorded(run.directory)["checkpoint"]["tensors"] == len(TIP)
    model = run.model()

    rng = np.random.default_rng(0)
    images = rng.random((5, 16, 16, 3)).astype(np.float32)
    rows = np.stack([rng.integers(0, 3, 5), rng.normal(size=5), rng.normal(size=5), rng.integers(0, 2, 5)], axis=1)
    rows[0], rows[1, 1], rows[2, [0, 3]] = np.nan, np.nan, np.nan  # a whole row, a number, all categories
    rows = rows.astype(np.float32)
    with torch.no_grad():
        outputs = theirs(torch.tensor(images.transpose(0, 3, 1, 2)), torch.tensor(rows[:, ORDER]))
    expected = {name: tensor.numpy() for name, tensor in outputs.items()}
    layers = {name: layer for term in model.heads.values() for name, layer in term.items()}
    tokens = np.array([0, *(1 + column for column in ORDER)])

    @jax.jit
    def ours(images: jax.Array, rows: jax.Array) -> dict[str, jax.Array]:
        image, table = model.encode("image", images, train=False), model.encode("table", rows, train=False)
        fused = model.encode("fusion", tuple(part_of(one, local=True) for one in (image, table)), train=False)
        assert table.local is not None
        assert fused.local is not None
        return {
            "image": image.pooled,
            "table": table.local[:, tokens],
            "fused": fused.local[:, tokens],
            "image projected": model.project("image", image, train=False),
            "table projected": model.project("table", table, train=False),
            "matched": layers["match"](fused.pooled),
            "categories": layers["classifier"](fused.local[:, np.array([1, 4])]),
            "numbers": layers["regressor"](fused.local[:, np.array([2, 3])]),
        }

    for name, found in ours(images, rows).items():
        np.testing.assert_allclose(found, expected[name], atol=1e-4, rtol=1e-4, err_msg=name)
