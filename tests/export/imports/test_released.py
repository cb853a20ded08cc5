"""Checkpoints of MMCL's released code become runs of ours with the same outputs."""

import argparse
import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

import mmcl_jax as mj
from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.torch_names import leaves_of
from mmcl_jax.errors import UserError
from mmcl_jax.export.imports.released import read_released
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.initial_weights import recorded
from tests.encoders.weights import made

SIZES = {"base": 4, "width": 8, "out": 4}
WIDTHS = (3, 1, 1, 2)  # of the one-hot columns gearbox, price, seats, fuel
WIDE = sum(WIDTHS)
OVERRIDES = [
    "encoders.image.name=resnet18", "encoders.image.width=0.0625", "views.image.size=None", "batch_size=8",
    "batch_norm.group_size=8", *(f"encoders.table.{size}=8" for size in ("hidden", "features")),
    *(f"projectors.{one}.{size}" for one in ("image", "table") for size in ("hidden=8", "out=4")),
]  # fmt: skip


def norm(name: str, size: int) -> dict[str, tuple[int, ...]]:
    return {**{f"{name}.{leaf}": (size,) for leaf in ("weight", "bias", "running_mean", "running_var")},
            f"{name}.num_batches_tracked": ()}  # fmt: skip


def linear(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def resnet18(name: str, base: int = 4) -> dict[str, tuple[int, ...]]:
    shapes = {f"{name}.conv1.weight": (base, 3, 7, 7), **norm(f"{name}.bn1", base)}
    inputs = base
    for stage in range(4):
        width = base << stage
        for block in range(2):
            at = f"{name}.layer{stage + 1}.{block}"
            shapes[f"{at}.conv1.weight"] = (width, inputs, 3, 3)
            shapes[f"{at}.conv2.weight"] = (width, width, 3, 3)
            shapes |= norm(f"{at}.bn1", width) | norm(f"{at}.bn2", width)
            if stage and not block:
                shapes[f"{at}.downsample.0.weight"] = (width, inputs, 1, 1)
                shapes |= norm(f"{at}.downsample.1", width)
            inputs = width
    return shapes


# The state dict of MultimodalSimCLR, in the layout that the facts of the released code state.
MULTIMODAL = {
    **resnet18("encoder_imaging"),
    **linear("projector_imaging.layers.0", 32, 8), **linear("projector_imaging.layers.2", 8, 4),
    **linear("encoder_tabular.encoder.0", WIDE, 8), **norm("encoder_tabular.encoder.1", 8),
    **linear("encoder_tabular.encoder.3", 8, 8),
    **linear("projector_tabular.layers.0", 8, 8), **linear("projector_tabular.layers.2", 8, 4),
}  # fmt: skip


def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        name: np.array(3) if name.endswith("tracked") else rng.uniform(0.5, 1, shape).astype(np.float32)
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def model_of(store: mj.Store) -> Callable[..., Model]:
    """The shapes of the model of an experiment on the store."""

    @functools.cache
    def shapes(name: str = "mmcl/mmcl", *overrides: str) -> Model:
        table = OVERRIDES if name == "mmcl/mmcl" else [one for one in OVERRIDES if "table" not in one]
        chosen = [one.replace("views.image.", "views.image_1.") for one in table] if name != "mmcl/mmcl" else table
        config = load(name, [f"data={store.directory}", *chosen, *overrides])
        experiment = build_experiment(config, store)
        return nnx.merge(experiment.graphdef, *jax.eval_shape(experiment.init, 0).weights())

    return shapes


def test_every_tensor_is_used_or_named(model_of: Callable[..., Model], tmp_path: Path) -> None:
    state = drawn(MULTIMODAL)
    extra = drawn(linear("criterion.head", 2, 2))
    path = made.save(tmp_path / "last.ckpt", {**state, **extra}, nested="state_dict")
    weights = read_released(path, model_of())
    assert weights.records["checkpoint"]["tensors"] == len(MULTIMODAL)
    assert weights.records["checkpoint"]["left_out"] == list(extra)
    assert "left out: criterion.* (2 tensors)" in weights.lines
    arrays = {".".join(leaf): array for leaf, array in leaves_of(*weights.arrays)}
    assert len(arrays) == sum(not name.endswith("tracked") for name in MULTIMODAL)
    table = "encoder_tabular.encoder"
    for ours, theirs in {
        "encoders.image.norm.mean": "encoder_imaging.bn1.running_mean",
        "encoders.table.norms.0.var": f"{table}.1.running_var",
        "encoders.table.layers.0.bias": f"{table}.0.bias",
        "encoders.table.layers.1.bias": f"{table}.3.bias",
        "projectors.image.out.bias": "projector_imaging.layers.2.bias",
    }.items():
        np.testing.assert_array_equal(arrays[ours], state[theirs])
    np.testing.assert_array_equal(arrays["encoders.table.layers.0.kernel"], state[f"{table}.0.weight"].T)


def test_towers_of_other_methods_and_versions(model_of: Callable[..., Model], tmp_path: Path) -> None:
    """SimCLR of a multimodal checkpoint, BYOL's online network, a fine-tuned tower, and a tower that is a sequence."""
    simclr = model_of("mmcl/simclr")
    byol = model_of(
        "mmcl/byol", "projectors.image.hidden=(8,)", "predictors.image.hidden=(8,)", "predictors.image.out=4"
    )
    arm = resnet18("encoder")
    for part, inputs in (("projector.model", 32), ("predictor.model", 4)):
        arm |= {f"{part}.0.weight": (8, inputs), **norm(f"{part}.1", 8), **linear(f"{part}.3", 8, 4)}
    tower = resnet18("encoder_imaging")
    sequence = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}
    renamed = {
        ".".join([head, sequence[first], *rest]): shape
        for name, shape in tower.items()
        for head, first, *rest in [name.split(".")]
    }
    heads = {name: shape for name, shape in MULTIMODAL.items() if name.startswith("projector_imaging")}
    for model, shapes, left_out in [
        (simclr, MULTIMODAL, 9 + 4),
        (simclr, {**renamed, **heads}, 0),
        (
            byol,
            {f"{net}_network.{name}": shape for net in ("online", "target") for name, shape in arm.items()},
            len(arm),
        ),
    ]:
        weights = read_released(made.save(tmp_path / "w.ckpt", drawn(shapes)), model)
        assert len(weights.records["checkpoint"]["left_out"]) == left_out
        (mean,) = (
            name for name in shapes if re.fullmatch(r"(encoder_imaging|online.*encoder)\.(bn1|1)\.running_mean", name)
        )
        np.testing.assert_array_equal(weights.statistics["encoders"]["image"]["norm"]["mean"], drawn(shapes)[mean])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: {k: v for k, v in s.items() if "tabular" not in k},
         r"encoder_tabular\.encoder\.\* for config\.encoders\.table; it has encoder_imaging\.\* \(\d+ tensors\), "),
        (lambda s: {**s, "encoder_tabular.encoder.0.weight": np.ones((8, 9), np.float32)},
         r"encoders\.table: the tensor 'encoder_tabular\.encoder\.0\.weight' is of shape \[8, 9\], .* \[8, 7\]"),
        (lambda s: {k: v for k, v in s.items() if k != "encoder_imaging.bn1.bias"}, r"lacks encoder_im.*bn1\.bias"),
        (lambda s: {**s, "encoder_tabular.encoder.4.weight": np.ones(8, np.float32)},
         r"it has encoder_tabular\.encoder\.4\.weight, which the encoder lacks"),
        (lambda s: {**s, "encoder_imaging.bn1.bias": np.full(4, np.inf, np.float32)}, "not finite"),
        (lambda s: {"x": np.ones(2)}, r"has no tensors encoder_imaging\.\* for config\.encoders\.image; it has x\.\*"),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_fit(
    model_of: Callable[..., Model], tmp_path: Path, change: Any, sentence: str
) -> None:
    path = made.save(tmp_path / "w.ckpt", change(drawn(MULTIMODAL)), nested="state_dict")
    with pytest.raises(UserError, match=sentence) as error:
        read_released(path, model_of())
    assert str(error.value).startswith(str(path))


@pytest.mark.foreign
def test_outputs_equal_those_of_pytorch(store: mj.Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch = pytest.importorskip("torch")
    from . import lightning

    theirs = lightning.Multimodal(WIDE, **SIZES).eval()
    assert {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()} == MULTIMODAL
    settings = argparse.Namespace(loss="clip", lr=3e-4)
    torch.save({"epoch": 499, "state_dict": theirs.state_dict(), "hyper_parameters": settings}, tmp_path / "last.ckpt")
    out = tmp_path / "run"
    words = ["import", "--checkpoint", str(tmp_path / "last.ckpt"), "--config", "mmcl/mmcl", "--out", str(out)]
    words += [f"--config.{override}" for override in (f"data={store.directory}", *OVERRIDES)]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"] == str(out)

    run = Run.open(out)
    assert run.step() == 0
    assert recorded(out)["checkpoint"]["tensors"] == len(MULTIMODAL)
    model = run.model()
    assert model.encoders["table"].input.widths == WIDTHS
    rng = np.random.default_rng(0)
    images = rng.random((5, 16, 16, 3)).astype(np.float32)
    columns = [rng.integers(0, width, 5) if width > 1 else rng.normal(size=5) for width in WIDTHS]
    rows = np.stack(columns, axis=1).astype(np.float32)
    coded = [np.eye(width)[one] if width > 1 else one[:, None] for width, one in zip(WIDTHS, columns, strict=True)]
    with torch.no_grad():
        image = theirs.encoder_imaging(torch.tensor(images.transpose(0, 3, 1, 2)))[-1].mean(dim=(2, 3))
        table = theirs.encoder_tabular(torch.tensor(np.concatenate(coded, axis=1), dtype=torch.float32))
        expected = {
            "image": (image, theirs.projector_imaging(image)),
            "table": (table, theirs.projector_tabular(table)),
        }
    for modality, view in {"image": images, "table": rows}.items():
        features = model.encode(modality, view, train=False)
        pooled, projected = (tensor.numpy() for tensor in expected[modality])
        np.testing.assert_allclose(features.pooled, pooled, atol=1e-4, rtol=1e-4)
        np.testing.assert_allclose(model.project(modality, features, train=False), projected, atol=1e-4, rtol=1e-4)

    assert main(words) == 2
    assert "holds a run with checkpoints" in capsys.readouterr().err
