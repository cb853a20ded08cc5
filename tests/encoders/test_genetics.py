"""ContIG's encoders of genetics: sizes, order of layers, initial weights; and projectors of an image by partner."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.encoders import PROJECTORS, ViewSpec, build_model, genetics_mlp, resnet18
from mmcl_jax.encoders.base import ENCODERS
from mmcl_jax.encoders.layers import batch_norm
from mmcl_jax.encoders.resnet import IMAGENET, BasicBlock, ResNet
from mmcl_jax.encoders.torch_names import from_torch
from mmcl_jax.training.parameters import parameters_by_part
from mmcl_jax.training.state.train_state import split_model

core = pytest.mark.core


@core
@pytest.mark.parametrize(
    ("layers", "features", "count"),
    [(0, 481, 0), (1, 481, 991_232), (1, 7_854, 16_091_136), (1, 18_574, 38_045_696), (2, 481, 991_232 + 4_200_448)],
)
def test_the_papers_sizes(layers: int, features: int, count: int) -> None:
    """Facts 1.3: H1 of 0.99, 16.09 and 38.05 million, among them 4,096 of the norm; None has no parameters."""
    made = nnx.eval_shape(lambda: genetics_mlp(shape=(features,), layers=layers, rngs=nnx.Rngs(0)))
    assert sum(math.prod(x.shape) for x in jax.tree.leaves(nnx.state(made, nnx.Param))) == count
    assert made.out_features == (features if layers == 0 else 2048)
    assert sum(norm.scale.size + norm.bias.size for norm in made.norms) == 4096 * layers


@core
def test_each_layer_is_linear_then_relu_then_norm() -> None:
    made = genetics_mlp(shape=(5,), hidden=7, layers=2, rngs=nnx.Rngs(0))
    view = np.random.default_rng(0).normal(size=(8, 5)).astype(np.float32)
    x = view.astype(np.float64)
    for layer, norm in zip(made.layers, made.norms, strict=True):
        norm.scale[...], norm.bias[...] = jnp.linspace(0.5, 2, 7), jnp.linspace(-1, 1, 7)
        x = np.maximum(x @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...]), 0)
        x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
        x = x * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    np.testing.assert_allclose(made(view, train=True).pooled, x, rtol=2e-4, atol=2e-5)
    assert (x < 0).any()  # which a ReLU behind the norm would hide


@core
def test_initial_weights_are_those_of_pytorch() -> None:
    """Uniform within 1 / sqrt(F), kernel and bias: kaiming_uniform_(a=sqrt(5)), the default of torch.nn.Linear."""
    layer = genetics_mlp(shape=(400,), hidden=300, rngs=nnx.Rngs(1)).layers[0]
    for values in (np.asarray(layer.kernel[...]), np.asarray(layer.bias[...])):
        assert np.abs(values).max() == pytest.approx(1 / 20, rel=0.05)
        assert values.std() == pytest.approx(1 / 20 / math.sqrt(3), rel=0.06)
        assert abs(values.mean()) < 0.05 / 15


@pytest.mark.foreign
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_outputs_and_gradients_are_those_of_pytorch(layers: int) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    widths = [6, *[5] * layers]
    parts = [(torch.nn.Linear(i, o), torch.nn.ReLU(), torch.nn.BatchNorm1d(o)) for i, o in itertools.pairwise(widths)]
    theirs = torch.nn.Sequential(*(part for block in parts for part in block))
    made = genetics_mlp(shape=(6,), hidden=5, layers=layers, rngs=nnx.Rngs(0))
    graph = nnx.graphdef(made)
    tensors = {
        f"{name}.{index}.{key}": value.detach().numpy()
        for index, (linear, _, norm) in enumerate(parts)
        for name, module in (("layers", linear), ("norms", norm))
        for key, value in module.state_dict().items()
    }
    loaded = from_torch(tensors, *split_model(made), ignored=(r".*\.num_batches_tracked",))
    params, statistics = jax.tree.map(jnp.asarray, loaded)
    view = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
    weight = np.random.default_rng(1).normal(size=(9, widths[-1])).astype(np.float32)

    def loss(view: jax.Array) -> tuple[jax.Array, jax.Array]:
        pooled = nnx.merge(graph, params, statistics, copy=True)(view, train=True).pooled
        return (pooled * weight).sum(), pooled

    slope, pooled = jax.grad(loss, has_aux=True)(jnp.asarray(view))
    given = torch.tensor(view, requires_grad=True)
    result = theirs(given)
    (result * torch.tensor(weight)).sum().backward()
    np.testing.assert_allclose(pooled, result.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(slope, given.grad.numpy(), rtol=1e-3, atol=1e-4)


@core
def test_absent_rows_enter_no_statistic_of_any_projector_of_the_image() -> None:
    """One projector for each partner, each with norms: they see the images that there are, and nothing else."""
    config = ConfigDict(
        {
            "dtype": "float32",
            "batch_norm": {"group_size": 4, "momentum": 0.9, "epsilon": 1e-5},
            "encoders": {"image": ENCODERS.spec("cnn", channels=(3,))},
            "projectors": {
                f"image:{name}": PROJECTORS.spec("mlp_norm", hidden=(5,), out=3, out_norm=True)
                for name in ("snp", "pgs")
            },
            "predictors": {},
            "views": {},
        },
        allow_dotted_keys=True,
    )
    model = build_model(config, {"image": ViewSpec(kind="image", shape=(4, 4, 1))}, rngs=nnx.Rngs(0))
    rng, present = np.random.default_rng(0), np.array([1, 0, 0, 0, 1, 1, 0, 1], bool)
    images = np.where(present[:, None, None, None], rng.normal(size=(8, 4, 4, 1)), np.nan).astype(np.float32)
    features = model.encode("image", jnp.asarray(images), train=True, present=jnp.asarray(present))
    for key, projector in model.projectors.items():
        projected = np.asarray(model.project(key, features, train=True, present=jnp.asarray(present)))
        assert np.isfinite(projected).all()
        assert not projected[~present].any()
        x = np.asarray(projector.layers[0](features.pooled))
        groups = [x[:4][present[:4]], x[4:][present[4:]]]
        mean = 0.1 * np.mean([group.mean(axis=0) for group in groups], axis=0)
        np.testing.assert_allclose(projector.norms[0].mean[...], mean, rtol=1e-4, atol=1e-6)
        last = projected[4:][present[4:]]
        np.testing.assert_allclose(last.mean(axis=0), 0, atol=1e-5)  # the norm behind the last layer


@core
def test_a_resnet_normalises_its_pixels_as_imagenet() -> None:
    options = {"block": BasicBlock, "depths": (1,), "shape": (8, 8, 3), "width": 1 / 16, "stem": "cifar"}
    options |= {"remat": "none", "norm": batch_norm, "dtype": jnp.float32}
    given, plain = (ResNet(**options, pixels=pixels, rngs=nnx.Rngs(0)) for pixels in ("imagenet", "unit"))
    images = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)
    mean, std = (np.array(values, np.float32) for values in IMAGENET)
    expected = plain((images - mean) / std, train=True).pooled
    np.testing.assert_allclose(given(images, train=True).pooled, expected, rtol=1e-5, atol=1e-5)
    assert not np.allclose(expected, plain(images, train=True).pooled)
    with pytest.raises(ValueError, match="pixels 'imagenet' is for images of 3 channels, not of 1; use 'unit'"):
        nnx.eval_shape(lambda: resnet18(shape=(8, 8, 1), pixels="imagenet", rngs=nnx.Rngs(0)))


@pytest.mark.foreign
def test_the_resnet_in_pytorch_normalises_its_pixels_too() -> None:
    torch = pytest.importorskip("torch")
    from mmcl_jax.export.modeling_torch.images import ResNet

    options = {"width": 1 / 16, "stem": "cifar"}
    made = {
        pixels: ResNet(
            {"shape": [8, 8, 3], "options": {**options, "pixels": pixels}}, 1e-5, depths=(1,), bottleneck=False
        ).eval()
        for pixels in ("imagenet", "unit")
    }
    made["unit"].load_state_dict(made["imagenet"].state_dict())
    images = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    torch.testing.assert_close(made["imagenet"](images).pooled, made["unit"]((images - mean) / std).pooled)


@core
def test_counts_by_part_are_those_of_the_leaves() -> None:
    made = genetics_mlp(shape=(10,), hidden=4, rngs=nnx.Rngs(0))
    assert parameters_by_part({"encoders": {"snp": split_model(made)[0]}}) == {("encoders", "snp"): 10 * 4 + 3 * 4}
