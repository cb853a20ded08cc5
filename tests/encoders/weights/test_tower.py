"""A state dict fills an encoder: names, prefixes, layouts, shapes, and what does not fit."""

import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from mmcl_jax.encoders import layers
from mmcl_jax.encoders.cnn import cnn
from mmcl_jax.encoders.resnet import IMAGENET, resnet18, resnet50
from mmcl_jax.encoders.torch_names import leaves_of, to_torch, torchvision_name
from mmcl_jax.encoders.weights.tower import NameMap, TowerWeights, read_tower
from mmcl_jax.errors import UserError
from mmcl_jax.training.state.train_state import split_model

from . import made

KEY = "config.encoders.image.weights"


@functools.cache
def shapes(make: Any = resnet18, *, channels: int = 3, **options: Any) -> tuple[dict, dict]:
    width = {} if make is cnn else {"width": 0.05}
    return split_model(nnx.eval_shape(lambda: make(shape=(32, 32, channels), rngs=nnx.Rngs(0), **{**width, **options})))


@functools.cache
def drawn(make: Any = resnet18) -> tuple[dict, dict]:
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes(make))


def read(path: Path, make: Any = resnet18, **options: Any) -> TowerWeights:
    return read_tower(path, *shapes(make), key=KEY, family="other" if make is cnn else "resnet", **options)


def equal(weights: TowerWeights, other: tuple[dict, dict]) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, (weights.params, weights.statistics), other))


def torchvisions() -> dict[str, np.ndarray]:
    state = to_torch(*drawn(), name=torchvision_name)
    return {**state, "bn1.num_batches_tracked": np.array(3), "fc.weight": np.ones((2, 3), np.float32)}


@pytest.mark.parametrize("nested", ["", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.encoder_q."])
def test_names_of_torchvision_below_any_prefix(tmp_path: Path, prefix: str, nested: str) -> None:
    state = {f"{prefix}{name}": array for name, array in torchvisions().items()}
    if prefix:
        state["head.weight"] = np.ones(2, np.float32)
    weights = read(made.save(tmp_path / "w.pth", state, nested=nested))
    assert equal(weights, drawn())
    assert weights.record["tensors"] == 100
    assert weights.record["left_out"] == [*(["head.weight"] if prefix else []), f"{prefix}fc.weight"]
    assert "fc.weight" in weights.describe(KEY)


@pytest.mark.parametrize("prefix", ["", "encoders.image."])
@pytest.mark.parametrize("make", [resnet18, cnn])
def test_our_own_names(tmp_path: Path, make: Any, prefix: str) -> None:
    state = {prefix + ".".join(path): leaf for path, leaf in leaves_of(*drawn(make))}
    safetensors.numpy.save_file(state, tmp_path / "w.safetensors")
    assert equal(read(tmp_path / "w.safetensors", make), drawn(make))
    safetensors.numpy.save_file(to_torch(*drawn(make)), tmp_path / "w.safetensors")
    assert equal(read(tmp_path / "w.safetensors", make), drawn(make))


def test_an_export_of_ours(tmp_path: Path) -> None:
    """As `mmcl export --format orbax` writes it: parameters and statistics of several encoders and of a head."""
    from orbax.checkpoint import v1 as ocp

    params, statistics = drawn(cnn)
    texts = [_texts({"encoders": {"image": tree, "table": {"bias": np.ones(2)}}}) for tree in (params, statistics)]
    ocp.save(tmp_path / "orbax", dict(zip(("params", "statistics"), texts, strict=True)))
    weights = read(tmp_path / "orbax", cnn)
    assert equal(weights, drawn(cnn))
    assert weights.record["left_out"] == ["encoders.table.bias"]
    assert len(weights.record["sha256"]) == 64


def _texts(tree: Any) -> Any:
    return {str(key): _texts(value) for key, value in tree.items()} if isinstance(tree, dict) else tree


@pytest.mark.parametrize("layout", ["flax", "torch"])
def test_a_name_map(tmp_path: Path, layout: Any) -> None:
    """The names of any Flax network, whose kernels may be square: the layout is stated, not guessed."""
    names = {".".join(path): f"net/Layer_{index}" for index, (path, _) in enumerate(leaves_of(*drawn(cnn)))}
    flat = {".".join(path): leaf for path, leaf in leaves_of(*drawn(cnn))}
    if layout == "torch":
        flat = {ours: array.transpose(3, 2, 0, 1) if array.ndim == 4 else array for ours, array in flat.items()}
    np.savez(tmp_path / "w.npz", **{names[ours].replace("/", "."): array for ours, array in flat.items()})
    text = {"layout": layout, "names": {names[ours].replace("/", "."): ours for ours in flat}}
    (tmp_path / "map.json").write_text(json.dumps(text))
    assert equal(read(tmp_path / "w.npz", cnn, names=NameMap.read(tmp_path / "map.json")), drawn(cnn))


def test_one_of_two_encoders_by_its_prefix(tmp_path: Path) -> None:
    state = torchvisions()
    both = {f"q.{name}": array for name, array in state.items()}
    both |= {f"k.{name}": np.zeros_like(array) for name, array in state.items()}
    path = made.save(tmp_path / "w.pth", both)
    with pytest.raises(
        UserError, match=r'several encoders, k\., q\.; .*weights_map, a JSON file such as \{"prefix": "'
    ):
        read(path)
    assert equal(read(path, names=NameMap(prefix="q.")), drawn())


MISFITS: dict[str, tuple[Any, str, dict]] = {
    "channels": (dict, "the weights are for images of 3 channels, and those of the store have 1", {"channels": 1}),
    "stem": (dict, r"7 x 7, and that of the stem 'cifar' is 3 x 3; set config\.encoders\.image\.stem to 'imagenet'",
             {"stem": "cifar"}),
    "width": (dict, r"'conv1.weight' is of shape \[3, 3, 7, 7\], and the encoder needs \[6, 3, 7, 7\]", {"width": 0.1}),
    "depth": (dict, r"lacks layer1\.0\.bn3.* and \d+ more, which the encoder has; give", {"make": resnet50}),
    "missing": (lambda s: {k: v for k, v in s.items() if k != "bn1.bias"}, "it lacks bn1.bias, which", {}),
    "unexpected": (lambda s: {**s, "x.w": s["bn1.bias"]}, "it has x.w, which the encoder lacks", {}),
    "both": (lambda s: {**{k: v for k, v in s.items() if k != "bn1.bias"}, "x.w": s["bn1.bias"]},
             "it lacks bn1.bias, which the encoder has, and it has x.w, which", {}),
    "other names": (lambda s: {f"a{i}": v for i, v in enumerate(s.values())}, "weights_map", {}),
    "nan": (lambda s: {**s, "bn1.bias": s["bn1.bias"] * np.nan}, "'bn1.bias' holds numbers that are not finite", {}),
    "too large": (lambda s: {**s, "bn1.bias": np.full(3, 1e300)}, "'bn1.bias' holds numbers that are not finite", {}),
    "counts": (lambda s: {**s, "bn1.bias": np.arange(3)}, "'bn1.bias' is of type int64; weights are floats", {}),
}  # fmt: skip


@pytest.mark.parametrize("what", MISFITS)
def test_what_does_not_fit_is_one_sentence(tmp_path: Path, what: str) -> None:
    change, sentence, options = MISFITS[what]
    path = made.save(tmp_path / "w.pth", change(torchvisions()))
    with pytest.raises(UserError, match=sentence) as error:
        read_tower(path, *shapes(**options), key=KEY, family="resnet")
    assert str(error.value).startswith(f"{KEY}: {path}")


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": 1}', '{"layout": "x"}', '{"names": {"a": "b", "c": "b"}}', '{"prefix": 1}']
)
def test_a_name_map_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(UserError, match=r"map\.json"):
        NameMap.read(tmp_path / "map.json")


def test_weights_for_normalised_pixels(tmp_path: Path) -> None:
    """Folded into the first layers: equal maps inside of the image; at its border the padding is another."""
    path = made.save(tmp_path / "w.pth", torchvisions())
    conv, norm = layers.conv(3, 3, 7, stride=2, rngs=nnx.Rngs(0), dtype=jnp.float32), layers.batch_norm(3)
    pixels = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3))
    mean, std = (jnp.array(values, jnp.float32)[None, None, None] for values in IMAGENET)

    def first(weights: TowerWeights, x: jax.Array) -> jax.Array:
        params, statistics = jax.tree.map(jnp.asarray, (weights.params, weights.statistics))
        nnx.update(conv, params["conv"])
        nnx.update(norm, {**params["norm"], **statistics["norm"]})
        return norm(conv(x), train=False)[:, 3:-3, 3:-3]

    expected = first(read(path), (pixels - mean) / std)
    np.testing.assert_allclose(first(read(path, pixels="imagenet"), pixels), expected, atol=1e-3, rtol=1e-4)
    with pytest.raises(UserError, match=r"weights_pixels: 'imagenet' is for ResNets"):
        read(made.save(tmp_path / "c.pth", to_torch(*drawn(cnn))), cnn, pixels="imagenet")


@pytest.mark.parametrize("pixels", ["unit", "imagenet"])
def test_weights_for_colours_on_grey_images(tmp_path: Path, pixels: Any) -> None:
    """As if the grey image were in all three channels, which is what LoVT makes of a radiograph."""
    path = made.save(tmp_path / "w.pth", torchvisions())
    colour = read(path, pixels=pixels)
    grey = read_tower(path, *shapes(channels=1), key=KEY, family="resnet", pixels=pixels, channels="sum")
    image = jax.random.uniform(jax.random.key(0), (2, 16, 16, 1))
    found = []
    for weights, x in ((colour, jnp.repeat(image, 3, axis=3)), (grey, image)):
        kernel = jnp.asarray(weights.params["conv"]["kernel"])
        found.append(
            jax.lax.conv_general_dilated(x, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        )
    np.testing.assert_allclose(*found, atol=1e-4, rtol=1e-4)
    for name in ("stages", "norm"):
        assert jax.tree.all(jax.tree.map(np.array_equal, grey.params[name], colour.params[name]))
    assert jax.tree.all(jax.tree.map(np.array_equal, grey.statistics, colour.statistics))
    assert "the first layer summed over its channels; left out: fc.weight" in grey.describe(KEY)
    with pytest.raises(
        UserError, match=r"the store with --channels 3, or set config.encoders.image.weights_channels to 'su"
    ):
        read_tower(path, *shapes(channels=1), key=KEY, family="resnet")
    for misfit in (shapes(), shapes(cnn)):
        with pytest.raises(
            UserError, match="weights_channels: 'sum' is for ResNets and Vision Transformers on images of 1"
        ):
            read_tower(path, *misfit, key=KEY, family="resnet", channels="sum")


def test_an_encoder_that_normalises_its_pixels_takes_such_weights_as_they_are(tmp_path: Path) -> None:
    path = made.save(tmp_path / "w.pth", torchvisions())
    plain, taken = read(path), read(path, pixels="imagenet", taken="imagenet")
    np.testing.assert_array_equal(taken.params["conv"]["kernel"], plain.params["conv"]["kernel"])
    np.testing.assert_array_equal(taken.statistics["norm"]["mean"], plain.statistics["norm"]["mean"])
    assert taken.record["pixels"] == "imagenet"
    with pytest.raises(UserError, match=r"the encoder normalises its pixels as ImageNet .*, and these weights are for"):
        read(path, taken="imagenet")


@pytest.mark.foreign
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_stage_maps_equal_those_of_pytorch(tmp_path: Path, name: str) -> None:
    """With random statistics, at even and odd sizes, on inputs of both signs and on negative inputs alone."""
    torch = pytest.importorskip("torch")
    from . import torchvision

    theirs = torchvision.drawn(name, base=4)
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in theirs.state_dict().items()}}, tmp_path / "w.pth"
    )
    make = {"resnet18": resnet18, "resnet50": resnet50}[name]
    encoder = make(shape=(64, 64, 3), rngs=nnx.Rngs(0), width=1 / 16)
    weights = read_tower(tmp_path / "w.pth", *split_model(encoder), key=KEY, family="resnet")
    encoder = nnx.merge(nnx.graphdef(encoder), *jax.tree.map(jnp.asarray, (weights.params, weights.statistics)))
    rng = np.random.default_rng(0)
    for side in (32, 33, 63, 64) if name == "resnet18" else (33, 64):
        both = rng.normal(size=(2, side, side, 3)).astype(np.float32)
        images = np.concatenate([both, -np.abs(both)])
        ours = encoder(images, train=False)
        with torch.no_grad():
            maps = theirs(torch.tensor(images.transpose(0, 3, 1, 2)))
        for mine, their in zip(ours.stages, maps, strict=True):
            np.testing.assert_allclose(mine, their.numpy().transpose(0, 2, 3, 1), atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(ours.pooled, maps[-1].mean(dim=(2, 3)).numpy(), atol=1e-4, rtol=1e-4)
