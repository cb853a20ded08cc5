"""Vision Transformers against torchvision, timm and PyTorch's own layers; patches, dropout, and sizes that are refused.

`golden/make.py` made the arrays of torchvision and timm.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import ENCODERS, Features, Model
from mmcl_jax.encoders.transformers.dropout import dropout
from mmcl_jax.encoders.transformers.vit import VisionTransformer, default_patch, vit
from mmcl_jax.encoders.weights.tower import read_tower
from mmcl_jax.errors import UserError
from mmcl_jax.training.memory import check_memory
from mmcl_jax.training.mesh import local_mesh
from mmcl_jax.training.state.train_state import split_model

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "vit.npz"))
SIZES: dict[str, dict[str, Any]] = {
    "torchvision 8": {"shape": (16, 16, 3), "patch": 8, "width": 32, "depth": 2, "heads": 4},
    "torchvision 4": {"shape": (32, 32, 3), "patch": None, "width": 32, "depth": 2, "heads": 4},
    "timm 8": {"shape": (16, 24, 3), "patch": 8, "width": 16, "depth": 1, "heads": 2},
}
TINY = {"width": 8, "depth": 2, "heads": 2, "patch": 4}


def state_of(case: str) -> dict[str, np.ndarray]:
    """The state dict of a case; "torchvision 4" shares its blocks with "torchvision 8"."""
    states = {
        of: {name.removeprefix(f"{of}/state/"): a for name, a in GOLDEN.items() if name.startswith(f"{of}/state/")}
        for of in {case, "torchvision 8"}
    }
    blocks = {name: array for name, array in states["torchvision 8"].items() if "layers" in name}
    return {**(blocks if case == "torchvision 4" else {}), **states[case]}


def run(encoder: VisionTransformer, images: Any, **options: Any) -> Features:
    graph, arrays = nnx.split(encoder)
    return jax.jit(lambda arrays, images: nnx.merge(graph, arrays)(images, train=False, **options))(arrays, images)


@pytest.mark.core
@pytest.mark.parametrize("case", SIZES)
def test_all_tokens_are_those_of_torchvision_and_timm(case: str, tmp_path: Path) -> None:
    """By their weights, which are read by their names from a file."""
    safetensors.numpy.save_file(
        {name: np.ascontiguousarray(array) for name, array in state_of(case).items()}, tmp_path / "w.safetensors"
    )
    encoder = vit(**SIZES[case], rngs=nnx.Rngs(0))
    weights = read_tower(
        tmp_path / "w.safetensors", *split_model(encoder), key="weights", family="vit", grid=encoder.grid
    )
    nnx.update(encoder, jax.tree.map(jnp.asarray, weights.params))
    found, tokens = run(encoder, GOLDEN[f"{case}/pixels"]), GOLDEN[f"{case}/tokens"]
    assert np.abs(tokens).max() > 1
    np.testing.assert_allclose(found.pooled, tokens[:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.local, tokens[:, 1:], rtol=1e-4, atol=1e-5)
    assert found.grid == encoder.grid
    np.testing.assert_array_equal(found.stages[-1].reshape(found.local.shape), found.local)


@pytest.mark.foreign
def test_outputs_and_gradients_are_those_of_pytorchs_layers() -> None:
    torch = pytest.importorskip("torch")
    nn = torch.nn
    width, heads, patch, side = 12, 3, 4, 8

    class Theirs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patches = nn.Conv2d(3, width, patch, patch)
            self.class_token = nn.Parameter(torch.zeros(1, 1, width))
            self.positions = nn.Parameter(torch.zeros(1, 1 + (side // patch) ** 2, width))
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    width, heads, 4 * width, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True
                )
                for _ in range(2)
            )
            self.norm = nn.LayerNorm(width, 1e-6)

        def forward(self, x: Any) -> Any:
            patches = self.patches(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.class_token.expand(len(x), -1, -1), patches], 1) + self.positions
            for block in self.blocks:
                x = block(x)
            return self.norm(x)

    torch.manual_seed(0)
    theirs = Theirs().double()
    for values in theirs.parameters():
        nn.init.normal_(values, std=0.3)
    ours = vit(shape=(side, side, 3), width=width, depth=2, heads=heads, patch=patch, rngs=nnx.Rngs(0))

    def kernels(attribute: str) -> dict[str, np.ndarray]:
        """Their values, or the gradients by them, by our paths."""

        def of(parameter: Any) -> np.ndarray:
            return (parameter.grad if attribute == "grad" else parameter.detach()).numpy()

        found = {
            "patches/kernel": of(theirs.patches.weight).transpose(2, 3, 1, 0),
            "patches/bias": of(theirs.patches.bias),
            "class_token": of(theirs.class_token),
            "positions": of(theirs.positions),
            "norm/scale": of(theirs.norm.weight),
            "norm/bias": of(theirs.norm.bias),
        }
        for index, block in enumerate(theirs.blocks):
            fused, bias = of(block.self_attn.in_proj_weight), of(block.self_attn.in_proj_bias)
            layers = {
                "attention/query": (fused[:width], bias[:width]),
                "attention/key_value": (fused[width:], bias[width:]),
                "attention/out": (of(block.self_attn.out_proj.weight), of(block.self_attn.out_proj.bias)),
                "hidden": (of(block.linear1.weight), of(block.linear1.bias)),
                "out": (of(block.linear2.weight), of(block.linear2.bias)),
            }
            for name, (kernel, bias) in layers.items():
                found |= {f"blocks/{index}/{name}/kernel": kernel.T, f"blocks/{index}/{name}/bias": bias}
            for name, norm in (("norm1", block.norm1), ("norm2", block.norm2)):
                found |= {f"blocks/{index}/{name}/scale": of(norm.weight), f"blocks/{index}/{name}/bias": of(norm.bias)}
        return found

    images = np.random.default_rng(0).uniform(size=(2, side, side, 3))
    tokens = theirs(torch.tensor(images.transpose(0, 3, 1, 2)))
    tokens.sin().sum().backward()
    graph, params = nnx.split(ours)
    flat, values = nnx.to_flat_state(params), kernels("data")
    assert {"/".join(map(str, path)) for path, _ in flat} == set(values)
    for path, variable in flat:
        variable.set_value(jnp.asarray(values["/".join(map(str, path))], jnp.float32))

    @jax.jit
    def step(params: nnx.State) -> Any:
        def loss(params: nnx.State) -> Any:
            found = nnx.merge(graph, params)(jnp.asarray(images, jnp.float32), train=True)
            every = jnp.concatenate([found.pooled[:, None], found.local], axis=1)
            return jnp.sin(every).sum(), every

        return jax.grad(loss, has_aux=True)(params)

    gradients, found = step(params)
    np.testing.assert_allclose(found, tokens.detach().numpy(), rtol=1e-4, atol=1e-5)
    expected = kernels("grad")
    for path, gradient in nnx.to_flat_state(gradients):
        theirs_by = expected["/".join(map(str, path))]
        np.testing.assert_allclose(gradient[...], theirs_by, rtol=1e-3, atol=1e-4 * np.abs(theirs_by).max())


@pytest.mark.core
def test_the_patch_is_chosen_by_the_shorter_side() -> None:
    """Between 8 and 15 patches along it, from 8 to 255 pixels; then 16 pixels."""
    assert {side: default_patch(side, side + 7) for side in (7, 8, 16, 32, 96, 128, 224, 1024)} == {
        7: 1, 8: 1, 16: 2, 32: 4, 96: 8, 128: 16, 224: 16, 1024: 16,
    }  # fmt: skip
    for side in range(8, 256):
        assert 8 <= side // default_patch(side, 500) < 16


@pytest.mark.core
@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ((20, 20, 3), {"patch": 8}, "patches of 8 x 8 pixels .* 20 x 20; set patch to 2 or 4 or 5 or 10 or 20, or "),
        ((100, 100, 3), {"patch": None}, "patches of 8 x 8 pixels .* 100 x 100; set patch to 2 or 4 or 5"),
        ((17, 16, 1), {"patch": 4}, r"of 17 x 16; set the option size of the view to \(16, 16\)$"),
        ((16, 15, 3), {"patch": 2}, r"of 16 x 15; set the option size of the view to \(16, 16\)$"),
        ((3, 5, 3), {"patch": 8}, r"set the option size of the view to \(8, 8\)$"),
        ((16, 16, 3), {"patch": 0}, "patch must be positive, not 0"),
        ((16, 16, 3), {"patch": -4}, "patch must be positive, not -4"),
        ((16, 16, 3), {"heads": 3}, "heads must divide width, not 8, 2, 3"),
        ((16, 16, 3), {"depth": 0}, "must be positive"),
        ((16, 16, 3), {"width": -8}, "must be positive"),
        ((16, 16, 3), {"dropout": 1.0}, "dropout must be at least 0 and less than 1, not 1.0"),
        ((16, 16, 3), {"dropout": -0.1}, "dropout must be"),
        ((16, 16, 3), {"dropout": float("nan")}, "dropout must be"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(shape: tuple, options: dict, sentence: str) -> None:
    spec = ENCODERS.spec("vit", **{**TINY, **options})
    with pytest.raises(UserError, match=f"^config.encoders.image: .*{sentence}"):
        ENCODERS.build(spec, "config.encoders.image", shape=shape, rngs=nnx.Rngs(0), dtype=jnp.float32)


@pytest.mark.core
def test_dropout_is_of_a_row_alone_and_of_training_alone() -> None:
    encoder = vit(shape=(8, 8, 1), **TINY, dropout=0.5, rngs=nnx.Rngs(0))
    images = jax.random.uniform(jax.random.key(0), (4, 8, 8, 1))
    keys = jax.random.split(jax.random.key(1), 4)
    graph, arrays = nnx.split(encoder)

    @jax.jit
    def pooled(images: jax.Array, keys: jax.Array) -> dict[str, jax.Array]:
        made: Callable[..., Features] = nnx.merge(graph, arrays)
        options = {"train": (True, keys), "again": (True, keys), "plain": (False, keys), "without": (True, None)}
        found = {name: made(images, train=train, keys=given) for name, (train, given) in options.items()}
        return {name: features.pooled for name, features in found.items()}

    found = pooled(images, keys)
    np.testing.assert_array_equal(found["train"], found["again"])
    np.testing.assert_array_equal(found["plain"], found["without"])
    assert np.abs(found["train"] - found["plain"]).min(axis=1).max() > 1e-3
    moved = pooled(images[::-1], keys[::-1])["train"][::-1]
    np.testing.assert_allclose(moved, found["train"], rtol=1e-5, atol=1e-6)
    dropped = np.asarray(dropout(0.25, keys)(jnp.ones((4, 20, 50))))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / 0.75], rtol=1e-6)
    assert abs((dropped == 0).mean() - 0.25) < 0.03  # of 4,000 values


@pytest.mark.core
def test_it_computes_in_its_dtype_and_keeps_float32() -> None:
    encoder = vit(shape=(8, 12, 2), **TINY, rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    found = run(encoder, jnp.ones((2, 8, 12, 2)))
    arrays = (found.pooled, found.local, *found.stages)
    assert {array.dtype for array in arrays} == {jnp.bfloat16.dtype}
    assert [array.shape for array in arrays] == [(2, 8), (2, 6, 8), (2, 2, 3, 8), (2, 2, 3, 8)]
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(encoder, nnx.Param))} == {np.dtype(np.float32)}
    alone = vit(shape=(8, 12, 2), **TINY, rngs=nnx.Rngs(0))
    wide = run(alone, jnp.ones((2, 8, 12, 2))).pooled
    np.testing.assert_allclose(found.pooled.astype(jnp.float32), wide, atol=0.05)


@pytest.mark.core
def test_initial_parameters() -> None:
    """The patches' layer has torchvision's deviation; class token and biases are 0."""
    encoder = vit(shape=(32, 32, 3), width=96, depth=1, heads=2, patch=4, rngs=nnx.Rngs(0))
    block = encoder.blocks[0]
    assert np.std(encoder.patches.kernel[...]) == pytest.approx((3 * 16) ** -0.5 * 0.88, rel=0.05)  # cut off at 2
    for values in (encoder.positions, block.attention.query.kernel, block.hidden.kernel, block.out.kernel):
        assert np.std(values[...]) == pytest.approx(0.02, rel=0.05)
    for values in (encoder.class_token, encoder.patches.bias, block.attention.key_value.bias, block.out.bias):
        assert not values[...].any()


def test_attention_that_cannot_fit_is_refused_before_a_program_is_compiled() -> None:
    """Patches of one pixel of an image of 512 x 512: more than 68 billion weights per block and head."""
    spec = ENCODERS.spec("vit", **{**TINY, "patch": 1})
    config = ConfigDict(
        {
            "micro_batch": 0,
            "batch_size": 64,
            "frozen": (),
            "views": {"image": {"modality": "image"}},
            "encoders": {"image": spec},
        }
    )

    def make(side: int) -> Model:
        encoder = ENCODERS.build(spec, "image", shape=(side, side, 1), rngs=nnx.Rngs(0), dtype=jnp.float32)
        return Model({"image": encoder}, {}, {}, {}, {})

    model = nnx.eval_shape(lambda: make(512))
    assert model.encoders["image"].row_bytes(train=True) == 2 * model.encoders["image"].row_bytes(train=False)
    assert model.encoders["image"].row_bytes(train=False) == 4 * 2 * (1 + 512**2) ** 2
    sentence = r"^config.encoders.image: .* vit needs at least .*larger patches with config\.encoders\.image\.patch, or"
    with pytest.raises(UserError, match=sentence):
        check_memory(config, model, local_mesh(8))
    check_memory(config, nnx.eval_shape(lambda: make(8)), local_mesh(8))
