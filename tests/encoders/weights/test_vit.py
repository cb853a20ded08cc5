"""The weights of torchvision's and timm's Vision Transformers: names, prefixes, patches, positions, pixels.

`tests/encoders/transformers/test_vit.py` compares what the encoder computes with them.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from mmcl_jax.encoders.cnn import cnn
from mmcl_jax.encoders.torch_names import leaves_of, to_torch
from mmcl_jax.encoders.transformers.vit import vit
from mmcl_jax.encoders.weights.tower import NameMap, TowerWeights, read_tower
from mmcl_jax.encoders.weights.vit import on_grid
from mmcl_jax.errors import UserError
from mmcl_jax.training.state.train_state import split_model
from tests.encoders.transformers.test_vit import GOLDEN, state_of
from tests.encoders.weights import made

pytestmark = pytest.mark.core
KEY = "config.encoders.image.weights"
TIMM = {"shape": (16, 24, 3), "patch": 8, "width": 16, "depth": 1, "heads": 2}
SMALL = {**TIMM, "shape": (16, 16, 3), "width": 32, "depth": 2, "heads": 4}  # of "torchvision 8"
State = dict[str, np.ndarray]


@functools.cache
def shapes(side: int = 0, **options: Any) -> tuple[dict, tuple[int, int]]:
    sizes = {**TIMM, **options, **({"shape": (side, side, 3)} if side else {})}
    encoder = nnx.eval_shape(lambda: vit(**sizes, rngs=nnx.Rngs(0)))
    return split_model(encoder)[0], encoder.grid


def read(path: Path, state: State | None = None, *, sizes: dict[str, Any] = TIMM, **options: Any) -> TowerWeights:
    if state is not None:
        made.save(path, state)
    params, grid = shapes(**sizes)
    return read_tower(path, params, {}, key=KEY, family="vit", grid=grid, **options)


def equal(weights: TowerWeights, other: dict) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, weights.params, other))


@functools.cache
def drawn() -> dict:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes()[0])


def old_names(state: State) -> State:
    """The names of the files that torchvision publishes."""
    return {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): a for name, a in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.vit."])
@pytest.mark.parametrize(("case", "head"), [("torchvision 8", "heads.head"), ("timm 8", "head"), ("old", "heads.head")])
def test_names_below_any_prefix_and_the_classifier_that_is_left_out(
    tmp_path: Path, case: str, head: str, prefix: str
) -> None:
    of, sizes = ("timm 8", TIMM) if case == "timm 8" else ("torchvision 8", SMALL)
    state = old_names(state_of(of)) if case == "old" else state_of(of)
    named = {f"{prefix}{name}": array for name, array in state.items()}
    if prefix:
        named["text.attn.qkv.weight"] = np.ones((6, 2), np.float32)
    weights = read(tmp_path / "w.pth", named, sizes=sizes)
    outside = ["text.attn.qkv.weight"] if prefix else []
    assert weights.record["left_out"] == [*outside, f"{prefix}{head}.weight", f"{prefix}{head}.bias"]
    assert f"{head}.weight" in weights.describe(KEY)
    assert weights.record["tensors"] == len(jax.tree.leaves(weights.params))
    width = sizes["width"]
    fused = next(array for name, array in state.items() if name.endswith(("qkv.weight", "in_proj_weight")))
    block = weights.params["blocks"][0]["attention"]
    np.testing.assert_array_equal(block["query"]["kernel"], fused[:width].T)
    np.testing.assert_array_equal(block["key_value"]["kernel"], fused[width:].T)


def test_our_own_names(tmp_path: Path) -> None:
    """As exports have them: in Flax's layout, and by the names of our modules in PyTorch."""
    state = {f"encoders.image.{'.'.join(path)}": leaf for path, leaf in leaves_of(drawn())}
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    assert equal(read(tmp_path / "w.safetensors"), drawn())
    assert equal(read(tmp_path / "w.pth", to_torch(drawn(), {})), drawn())
    names = {".".join(path): f"x{index}" for index, (path, _) in enumerate(leaves_of(drawn()))}
    numbered = {names[".".join(path)]: leaf for path, leaf in leaves_of(drawn())}
    flat = NameMap(layout="flax", names={theirs: ours for ours, theirs in names.items()})
    assert equal(read(tmp_path / "x.pth", numbered, names=flat), drawn())


def without(ending: str) -> Callable[[State], State]:
    return lambda state: {name: array for name, array in state.items() if not name.endswith(ending)}


MISFITS: dict[str, tuple[Callable[[State], State], dict[str, Any], str]] = {
    "patch": (dict, {"patch": 4}, r"of 8 x 8 pixels, .* are 4 x 4; set config\.encoders\.image\.patch to 8\."),
    "channels": (dict, {"shape": (16, 24, 1)}, "for images of 3 channels, and those of the store have 1; prepare"),
    "width": (dict, {"width": 8}, "weights are of the width 16, and the encoder is of the width 8; set"),
    "depth": (dict, {"depth": 2}, r"lacks blocks\.1\.attn\..*, which the encoder has"),
    "missing": (without("mlp.fc1.bias"), {}, r"it lacks blocks\.0\.mlp\.fc1\.bias, which"),
    "no class token": (without("cls_token"), {}, "it lacks cls_token, which"),
    "no biases": (without("qkv.bias"), {}, r"it lacks blocks\.0\.attn\.key_value\.bias.*, which"),
    "registers": (lambda s: {**s, "reg_token": s["cls_token"]}, {}, "it has reg_token, which the encoder lacks"),
    "nan": (lambda s: {**s, "norm.bias": s["norm.bias"] * np.nan}, {}, r"'norm\.bias' holds numbers that are not"),
    "grid": (dict, {"shape": (24, 24, 3)}, r"its 6 position embeddings of patches are of no square grid, .* 3 x 3;"),
    "odd fused": (
        lambda s: {**s, "blocks.0.attn.qkv.weight": s["blocks.0.attn.qkv.weight"][:-1]}, {},
        r"it has blocks\.0\.attn\.qkv\.weight, which the encoder lacks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, what: str) -> None:
    change, options, sentence = MISFITS[what]
    with pytest.raises(UserError, match=sentence) as error:
        read(tmp_path / "w.pth", change(state_of("timm 8")), sizes={**TIMM, **options})
    assert str(error.value).startswith(f"{KEY}: {tmp_path}")


def test_another_grid_is_refused_or_resampled(tmp_path: Path) -> None:
    state, large = state_of("torchvision 8"), {**SMALL, "shape": (24, 40, 3)}
    path = made.save(tmp_path / "w.pth", state)
    refused = r"grid of 2 x 2 patches, and the encoder has 3 x 5; set .*weights_positions to 'bicubic' to resample"
    with pytest.raises(UserError, match=refused):
        read(path, sizes=large)
    weights = read(path, sizes=large, positions="bicubic")
    positions = weights.params["positions"]
    assert positions.shape == (1, 16, 32)
    theirs = state["encoder.pos_embedding"]
    np.testing.assert_array_equal(positions[:, 0], theirs[:, 0])
    assert np.abs(positions[0, 1] - theirs[0, 1]).max() < np.abs(positions[0, 1] - theirs[0, 4]).max()  # a corner
    assert weights.record["resampled"]
    assert "position embeddings resampled" in weights.describe(KEY)
    same = read(path, sizes=SMALL, positions="bicubic")
    np.testing.assert_array_equal(same.params["positions"], theirs)
    assert "resampled" not in same.record
    # As many patches, and another grid: torchvision's grids are square.
    with pytest.raises(UserError, match="2 x 2 patches, and the encoder has 1 x 4"):
        read(path, sizes={**SMALL, "shape": (8, 32, 3)})


def test_positions_are_resampled_as_by_timm() -> None:
    before, after = GOLDEN["timm 4 to 6/before"], GOLDEN["timm 4 to 6/after"]
    found = on_grid(before, (6, 3), square=False, interpolate=True, source="w", key=KEY)
    np.testing.assert_allclose(found, after, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("pixels", "mean", "std"),
    [("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ("inception", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))],
)
def test_weights_for_normalised_pixels(tmp_path: Path, pixels: Any, mean: tuple, std: tuple) -> None:
    """Taken into the layer of the patches, exactly, also at the border."""
    path = made.save(tmp_path / "w.pth", state_of("timm 8"))
    images = jax.random.uniform(jax.random.key(0), (2, 16, 24, 3))
    layer = nnx.Conv(3, 16, (8, 8), strides=8, padding="VALID", rngs=nnx.Rngs(0))

    def patches(weights: TowerWeights, x: jax.Array) -> jax.Array:
        nnx.update(layer, jax.tree.map(jnp.asarray, weights.params["patches"]))
        return layer(x)

    mean, std = (jnp.asarray(values, jnp.float32)[None, None, None] for values in (mean, std))
    expected = patches(read(path), (images - mean) / std)
    np.testing.assert_allclose(patches(read(path, pixels=pixels), images), expected, rtol=1e-4, atol=1e-4)


def test_other_encoders_have_no_positions(tmp_path: Path) -> None:
    params, statistics = split_model(nnx.eval_shape(lambda: cnn(shape=(8, 8, 3), channels=(4,), rngs=nnx.Rngs(0))))
    with pytest.raises(UserError, match=f"^{KEY}_positions: only Vision Transformers have position embeddings; leave"):
        read_tower(tmp_path / "w.pth", params, statistics, key=KEY, positions="bicubic")
