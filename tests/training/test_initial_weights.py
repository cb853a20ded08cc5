"""A training that begins with the weights of a file."""

from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import nnx

from mmcl_jax.config.load import load
from mmcl_jax.data.store import Store
from mmcl_jax.encoders.torch_names import leaves_of, to_torch
from mmcl_jax.encoders.transformers.vit import vit
from mmcl_jax.errors import UserError
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.initial_weights import InitialWeights, check_recorded, initial_weights, recorded
from mmcl_jax.training.state.train_state import split_model

from .test_loop import bits, quiet, stop_at


def write(path: Path, scale: float = 1.0) -> Path:
    """The weights of the small image tower of `tiny_config`, drawn."""
    rng = np.random.default_rng(0)
    sizes = {
        "convs.0.kernel": (3, 3, 1, 4), "convs.1.kernel": (3, 3, 4, 8), "norms.0.scale": (4,), "norms.0.bias": (4,),
        "norms.1.scale": (8,), "norms.1.bias": (8,), "norms.0.mean": (4,), "norms.0.var": (4,), "norms.1.mean": (8,),
        "norms.1.var": (8,),
    }  # fmt: skip
    state = {name: scale * rng.uniform(0.5, 1, size).astype(np.float32) for name, size in sizes.items()}
    safetensors.numpy.save_file(state, path)
    return path


def test_a_run_begins_with_the_weights_and_needs_the_file_once(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "w.safetensors")
    config = tiny_config("digits_simclr", f"encoders.image.weights={path}")
    said: list[str] = []
    whole = pretrain(config, tmp_path / "whole", log=said.append)
    assert any(line.startswith(f"config.encoders.image.weights: 10 tensors of {path} (SHA-256 ") for line in said)
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        pretrain(config, tmp_path / "stopped", log=quiet)
    path.unlink()
    again = pretrain(config, tmp_path / "stopped", log=quiet)
    assert bits(again.state) == bits(whole.state)
    assert recorded(tmp_path / "stopped")["image"]["tensors"] == 10
    with pytest.raises(UserError, match=r"config\.encoders\.image\.weights: .* and .* has no checkpoint"):
        check_recorded(config, tmp_path / "stopped", needed=True)
    write(path, scale=2)
    with pytest.raises(UserError, match=r"is not the file that .* was begun with"):
        pretrain(config, tmp_path / "stopped", log=quiet)


def test_target_and_averages_begin_with_the_weights(tiny_config, tmp_path: Path) -> None:
    """Frozen or not; and what the file does not have begins as without it."""
    config = tiny_config(
        "digits_simclr",
        f"encoders.image.weights={write(tmp_path / 'w.safetensors')}",
        "frozen=('encoders.image.convs.0.*',)",
        "average.kind=ema",
        "encoders.image.pooling=attention",  # whose parameters are in no file
        "encoders.image.pooling_heads=2",
    )
    experiment = build_experiment(config, Store.open(config.data))
    weights = initial_weights(config, experiment.graphdef, jax.eval_shape(experiment.init, 0).weights())
    state, other = jax.jit(experiment.init)(0, weights.arrays), jax.jit(experiment.init)(0)
    for tree in (state.weights(), (state.average["params"], state.average["model_state"])):
        got = {".".join(path): np.asarray(leaf) for path, leaf in leaves_of(*tree)}
        for path, leaf in leaves_of(*weights.arrays):
            name = ".".join(path)
            if name in got or tree is state.weights():
                np.testing.assert_array_equal(got[name], leaf)
    assert bits(state.params["projectors"]) == bits(other.params["projectors"])
    assert bits(state.params["encoders"]) != bits(other.params["encoders"])


def test_position_embeddings_of_another_grid(digits_store: Store, tmp_path: Path) -> None:
    """By an option of the config, also in what the run records."""
    small = vit(shape=(16, 16, 1), width=8, depth=1, heads=2, patch=4, rngs=nnx.Rngs(0))
    safetensors.numpy.save_file(to_torch(*split_model(small)), tmp_path / "w.safetensors")
    options = {"name": "vit", "width": 8, "depth": 1, "heads": 2, "patch": 4, "weights": tmp_path / "w.safetensors"}
    overrides = [f"data={digits_store.directory}", "views.image.size=(24,20)"]
    overrides += [f"encoders.image.{key}={value}" for key, value in options.items()]

    def read(*more: str) -> InitialWeights:
        config = load("digits_mmcl", [*overrides, *more])
        experiment = build_experiment(config, digits_store)
        return initial_weights(config, experiment.graphdef, jax.eval_shape(experiment.init, 0).weights())

    with pytest.raises(
        UserError, match=r"weights: .* grid of 4 x 4 patches, and the encoder has 6 x 5; set config\.enc"
    ):
        read()
    found = read("encoders.image.weights_positions=bicubic")
    assert found.params["encoders"]["image"]["positions"].shape == (1, 31, 8)
    assert found.records["image"]["resampled"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["weights=none.pth"], r"none\.pth does not exist; give a file of weights"),
        (["weights=w.safetensors", "channels=(4, 9)"], r"'convs\.1\.kernel' is of shape \[3, 3, 4, 8\], and"),
        (["weights=w.safetensors", "weights_map=none.json"], r"none\.json is missing"),
        (["weights_positions=bicubic"], r"weights_positions: there are no weights to read; set config\.encoders"),
        (["weights=w.safetensors", "weights_positions=bicubic"], "weights_positions: only Vision Transformers have"),
        (["weights_map=map.json"], r"weights_map: there are no weights to read; set config\.encoders\.image\.weights"),
        (["weights=w.safetensors", "weights_pixels=imagenet"], r"weights_pixels: 'imagenet' is for ResNets"),
        (["weights=w.safetensors", "weights_channels=sum"], r"weights_channels: 'sum' is for ResNets and Vision"),
        (["weights_channels=sum"], r"weights_channels: there are no weights to read"),
        (["weights=w.safetensors", "weights_pixels=rgb"], r"image\.weights_pixels: 'rgb' is not of type"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_end_before_the_run_is_written(
    tiny_config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "w.safetensors")
    config = tiny_config("digits_simclr", *(f"encoders.image.{override}" for override in overrides))
    with pytest.raises(UserError, match=sentence):
        pretrain(config, tmp_path / "run", log=quiet)
    assert not Run.exists(tmp_path / "run")
