"""Grad-CAM and guided Grad-CAM: planted patches, closed forms, and captum."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.encoders import Model
from mmcl_jax.encoders.resnet import resnet18
from mmcl_jax.encoders.transformers.vit import vit
from mmcl_jax.encoders.weights.tower import read_tower
from mmcl_jax.errors import UserError
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain import Explanation
from mmcl_jax.explain.base import ExplainOptions
from mmcl_jax.explain.pictures.overlays import overlay
from mmcl_jax.explain.pictures.replay import guided_relu, replay
from mmcl_jax.explain.run import explain_run
from mmcl_jax.tasks import Class, MultiLabel, Units
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from tests.explain.conftest import Plant, with_model

N, SIDE, PATCH = 48, 32, 6
CLASSES = ("bright", "dark")


@pytest.fixture(scope="module")
def patches() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Grey noise with one patch that is bright or dark: pixels, the top left corner of each patch, and the class."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(110, 146, (N, SIDE, SIDE, 3), np.uint8)
    corners, classes = rng.integers(2, SIDE - PATCH - 2, (N, 2)), np.arange(N) % 2
    for row in range(N):
        y, x = corners[row]
        pixels[row, y : y + PATCH, x : x + PATCH] = 0 if classes[row] else 255
    return pixels, corners, classes


@pytest.fixture(scope="module")
def run(patches: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on the patches, as if it had been trained for no step."""
    import polars as pl

    pixels, _, classes = patches
    folder = tmp_path_factory.mktemp("patches")
    frame = pl.DataFrame(
        {"key": [f"row{row}" for row in range(N)], "number": np.random.default_rng(1).normal(size=N),
         "kind": [CLASSES[code] for code in classes]}
    )  # fmt: skip
    store = mj.prepare(frame, pixels, key_column="key", label="kind", split=(0.25, 0.25, 0.5), out=folder / "store")
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "patches", str(store.directory), 8, 1
    config.inputs = {"image": input(), "table": input()}
    config.views = {"image": view("augment"), "table": view("rows")}
    config.encoders = {"image": encoder("cnn", channels=(4,)), "table": encoder("table_mlp", hidden=4, features=2)}
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", "table")}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return Run.begin(folder / "run", config, store, Inputs.fit(config.inputs, store))


def detectors(model: Model) -> None:
    """Channel 0 sees bright pixels, channel 1 dark ones, channel 2 everything, and channel 3 nothing."""
    tower = model.encoders["image"]
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[1, 1, :, :3] = np.array([1, -1, 1]) / 3
    tower.convs[0].kernel[...] = jnp.asarray(kernel)
    tower.norms[0].bias[...] = jnp.array([-0.8, 0.2, 0.0, 0.0])


@pytest.fixture
def planted(run: Run, monkeypatch: pytest.MonkeyPatch) -> Plant:
    return lambda change: with_model(run, change, monkeypatch)


def head_of(run: Run, kernel: Any, task: Any = None, reads: Sequence[str] = ("image",)) -> KeptHead:
    """A kept head with these weights `[D, outputs]`."""
    kernel = np.asarray(kernel, np.float32)
    task = task or Class(label="kind", classes=2)
    labels = {"kind": CLASSES} if isinstance(task, Class) else dict.fromkeys(task.names, ())
    trained = Trained(
        reads=tuple(reads), task=task, head=LinearHead(), units=Units(np.zeros(1), np.ones(1)), encoder=None,
        params={"kernel": kernel, "bias": np.zeros(kernel.shape[1], np.float32)}, rate=0.1, round=1, rounds=1,
        reached=1.0,
    )  # fmt: skip
    score = Score(method="m", seed=0, protocol="probe", input="image", label="kind", budget="all", draw=0, metrics={},
                  chosen={})  # fmt: skip
    return KeptHead(source=Source("run", run), trained=trained, standard=None, labels=labels, of={}, score=score)


PLANTED = [[1, -1], [-1, 1], [0, 0], [0, 0]]


def explained(run: Run, folder: Path, head: KeptHead, method: str = "grad_cam", **options: Any) -> Explanation:
    given = ExplainOptions(methods=(method,), inputs=("image",), **{"top": 3, **options})
    (one,) = explain_run(run, run.store(), given, folder=folder, head=head, head_name="head")
    return one


def maps_of(explanation: Explanation) -> dict[str, np.ndarray]:
    with np.load(explanation.directory / "maps.npz", allow_pickle=False) as file:
        return dict(file)


def row_of(key: str) -> int:
    return int(key.removeprefix("row"))


@pytest.mark.parametrize("reads", [("image",), ("image", "table")], ids="+".join)
def test_the_patch_that_decides_has_the_mass(
    planted: Any, patches: Any, tmp_path: Path, reads: tuple[str, ...]
) -> None:
    """And the maps are those of the closed form for each row alone: ReLU of the map times the weights of the head."""
    run, (pixels, corners, classes) = planted(detectors), patches
    kernel = PLANTED if reads == ("image",) else [*PLANTED, [0, 0], [0, 0]]
    explanation = explained(run, tmp_path, head_of(run, kernel, reads=reads))
    found, tower = maps_of(explanation), run.model().encoders["image"]
    assert found["keys"].tolist() == run.store().keys("test")
    for key, cam, output in zip(found["keys"], found["maps"], found["output"], strict=True):
        row = row_of(key)
        assert output == classes[row]
        y, x = corners[row]
        seen = np.zeros((SIDE, SIDE), bool)
        seen[y : y + PATCH, x : x + PATCH] = True
        assert cam[seen[::2, ::2]].sum() > 0.99 * cam.sum() > 0
        alone = tower(pixels[row : row + 1].astype(np.float32) / 255, train=False).stages[0][0]
        closed = np.maximum((alone @ np.array(PLANTED, np.float32)[:, output]) / cam.size, 0)
        np.testing.assert_allclose(cam, closed, rtol=1e-5, atol=1e-8)
    assert len(explanation.pictures) == 3
    shown = [f"Grad-CAM for kind {CLASSES[classes[row_of(key)]]}, row {key}: " for key in found["keys"][:3]]
    for (path, words), expected in zip(explanation.pictures.items(), shown, strict=True):
        with Image.open(path) as picture:
            assert picture.size == (2 * 160, 160)
        assert words.startswith(expected)


def test_guided_maps_are_zero_outside_of_the_patch(planted: Any, patches: Any, tmp_path: Path) -> None:
    run = planted(detectors)
    explanation = explained(run, tmp_path, head_of(run, PLANTED), "guided_grad_cam", interpolation="nearest")
    guided, found = np.load(explanation.directory / "guided.npy"), maps_of(explanation)
    assert guided.shape == (len(found["keys"]), SIDE, SIDE, 3)
    for key, values in zip(found["keys"], guided, strict=True):
        y, x = patches[1][row_of(key)]
        inside = np.abs(values[y : y + PATCH, x : x + PATCH]).sum()
        assert inside == pytest.approx(np.abs(values).sum())
        assert inside > 0


def test_a_single_logit_has_a_map_for_either_answer(planted: Any, tmp_path: Path) -> None:
    """Of a label that is yes or no; and what speaks for nothing is zero, and drawn."""
    run = planted(detectors)
    head = head_of(run, [[1], [-1], [0], [0]], MultiLabel(label="bright", names=("bright",)))
    yes, no = (maps_of(explained(run, tmp_path, head, output=name))["maps"] for name in ("bright", "not bright"))
    assert (yes.max(axis=(1, 2)) > 0).any()
    assert (no.max(axis=(1, 2)) > 0).any()
    assert not ((yes > 0) & (no > 0)).any()
    negative = head_of(run, [[0], [0], [-1], [0]], MultiLabel(label="bright", names=("bright",)))
    explanation = explained(run, tmp_path, negative, "guided_grad_cam", output="bright")
    count = len(maps_of(explanation)["maps"])
    assert not maps_of(explanation)["maps"].any()
    assert not np.load(explanation.directory / "guided.npy").any()
    assert explanation.about["details"]["zero"] == count
    assert explanation.about["notes"] == [f"{count} maps of {count} are zero: no position speaks for the output."]
    with Image.open(next(iter(explanation.pictures))) as picture:
        first, second, _ = np.split(np.asarray(picture), 3, axis=1)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"layer": 1}, r"--layer: the encoder of 'image' has the stages 0 to 0, and no stage 1"),
        ({"interpolation": "cubic"}, r"--interpolation: there is no interpolation 'cubic'"),
        ({"output": "brigt"}, r"--output: the head has no output 'brigt'.*bright"),
    ],
)
def test_bad_options_are_one_sentence(planted: Any, tmp_path: Path, options: dict, sentence: str) -> None:
    run = planted(detectors)
    with pytest.raises(UserError, match=sentence):
        explained(run, tmp_path, head_of(run, PLANTED), **options)
    assert not list(tmp_path.glob("*/*"))


def test_a_replayed_function_is_the_function() -> None:
    """Also inside of `jit` and `remat`; the array that is added to an output reaches what follows."""

    def function(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = jax.jit(lambda x: jax.nn.relu(x) * 2)(jnp.sin(x))
        return jax.checkpoint(lambda h: jnp.maximum(h - 0.5, 0).sum() - 3 * jax.nn.silu(h).sum())(hidden), hidden

    x, change = jnp.linspace(-2, 2, 7), jnp.arange(7.0)
    traced = jax.make_jaxpr(function)(x)
    np.testing.assert_allclose(replay(traced, x)[0], function(x)[0], rtol=1e-6)
    hidden = function(x)[1] + change
    expected = jnp.maximum(hidden - 0.5, 0).sum() - 3 * jax.nn.silu(hidden).sum()
    np.testing.assert_allclose(replay(traced, x, added=(1, change))[0], expected, rtol=1e-6)
    slope = jax.grad(lambda x: replay(traced, x)[0])(x)
    np.testing.assert_allclose(slope, jax.grad(lambda x: function(x)[0])(x), rtol=1e-6)
    assert not np.allclose(slope, jax.grad(lambda x: replay(traced, x, relu=guided_relu)[0])(x))


def test_an_overlay_of_a_volume_shows_three_slices_through_the_map() -> None:
    view = np.zeros((8, 6, 4, 1), np.float32)
    view[5] = 1
    maps = np.zeros((4, 3, 2), np.float32)
    maps[2, 1, 1] = 1  # voxels 4 and 5, 2 and 3, 2 and 3
    panels = overlay(view, maps, upwards=True)
    scale = 20  # the tallest slice has 8 rows
    assert panels.shape == (8 * scale, 2 * (4 + 1 + 4 + 1 + 6) * scale, 3)
    coronal = panels[:, 5 * scale : 9 * scale]  # whose third row from the top is the sixth slice
    assert (coronal[2 * scale : 3 * scale] == 255).all()
    assert not coronal[: 2 * scale].any()
    axial = panels[scale : 7 * scale, : 4 * scale]
    assert len(np.unique(axial)) == 1


@pytest.mark.foreign
@pytest.mark.filterwarnings("ignore:Setting backward hooks on ReLU:UserWarning")
@pytest.mark.parametrize("layer", [-1, 1])
def test_captum_has_the_same_maps(planted: Any, patches: Any, tmp_path: Path, layer: int) -> None:
    torch = pytest.importorskip("torch")
    attr = pytest.importorskip("captum.attr")
    from tests.encoders.weights import torchvision

    tower = torchvision.drawn("resnet18", base=4)
    torch.save(tower.state_dict(), tmp_path / "w.pth")
    kernel = np.random.default_rng(2).normal(size=(32, 2)).astype(np.float32)

    class Classifier(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = tower

        def forward(self, x: Any) -> Any:
            return self.tower(x)[-1].mean(dim=(2, 3)) @ torch.tensor(kernel)

    def resnet(model: Model) -> None:
        made = resnet18(shape=(SIDE, SIDE, 3), rngs=nnx.Rngs(0), width=1 / 16)
        weights = read_tower(tmp_path / "w.pth", *split_model(made), key="", family="resnet")
        arrays = jax.tree.map(jnp.asarray, (weights.params, weights.statistics))
        model.encoders["image"] = nnx.merge(nnx.graphdef(made), *arrays)

    run = planted(resnet)
    explanation = explained(
        run,
        tmp_path / "out",
        head_of(run, kernel),
        "guided_grad_cam",
        output="dark",
        layer=layer,
        interpolation="nearest",
    )
    found = maps_of(explanation)
    rows = [row_of(key) for key in found["keys"]]
    images = torch.tensor(patches[0][rows].transpose(0, 3, 1, 2).astype(np.float32) / 255, requires_grad=True)
    classifier = Classifier().eval()
    stage = [tower.layer1, tower.layer2, tower.layer3, tower.layer4][layer]
    maps = attr.LayerGradCam(classifier, stage).attribute(images, target=1, relu_attributions=True)
    maps = maps.detach().numpy()[:, 0]
    np.testing.assert_allclose(found["maps"], maps, rtol=1e-4, atol=1e-4 * maps.max())
    guided = attr.GuidedGradCam(classifier, stage).attribute(images, target=1).detach().numpy().transpose(0, 2, 3, 1)
    ours = np.load(explanation.directory / "guided.npy")
    assert np.abs(guided).max() > 0
    np.testing.assert_allclose(ours, guided, rtol=1e-4, atol=1e-4 * np.abs(guided).max())


def test_a_vision_transformer_is_explained_by_the_patches_that_its_class_token_reads(
    planted: Any, patches: Any, tmp_path: Path
) -> None:
    """A class token that reads the brightness of all patches: the map is that of its gradient."""

    def brightness(model: Model) -> None:
        made = vit(shape=(SIDE, SIDE, 3), width=8, depth=1, heads=2, patch=4, rngs=nnx.Rngs(0))
        (block,) = made.blocks
        block.out.kernel[...] *= 0
        block.attention.out.kernel[...] = jnp.eye(8)
        block.attention.key_value.kernel[...] = jnp.eye(8, 16, 8)
        made.patches.kernel[...] = jnp.zeros_like(made.patches.kernel[...]).at[..., 0].set(4 / 48)
        made.patches.bias[...] = jnp.zeros(8).at[0].set(-2.0)  # -2 in the dark, 2 in the light
        made.positions[...] = jnp.zeros_like(made.positions[...]).at[..., 1].set(1.0)
        model.encoders["image"] = made

    run = planted(brightness)
    kernel = np.zeros((8, 2), np.float32)
    kernel[0] = [1, -1]
    explanation = explained(run, tmp_path, head_of(run, kernel), output="bright")
    assert explanation.about["details"]["stage"] == 0
    assert explanation.about["details"]["grid"] == [SIDE // 4, SIDE // 4]
    found, tower = maps_of(explanation), run.model().encoders["image"]
    rows = [row_of(key) for key in found["keys"]]
    images = jnp.asarray(patches[0][rows], jnp.float32) / 255

    @jax.jit
    def by_hand(images: jax.Array) -> jax.Array:
        entering = tower(images, train=False).stages[0]
        token = jnp.broadcast_to(tower.positions[...][:, :1], (len(images), 1, 8))

        def score(values: jax.Array) -> jax.Array:
            tokens = jnp.concatenate([token, values.reshape(len(images), -1, 8)], axis=1)
            return (tower.norm(tower.blocks[0](tokens, lambda x: x))[:, 0] @ kernel[:, 0]).sum()

        weights = jax.grad(score)(entering).mean(axis=(1, 2), keepdims=True)
        return jax.nn.relu((weights * entering).sum(axis=-1))

    expected = by_hand(images)
    np.testing.assert_allclose(found["maps"], expected, rtol=1e-4, atol=1e-6 * float(expected.max()))
    for row, cam in zip(rows, found["maps"], strict=True):
        if patches[2][row] == 0:
            most = np.array(np.unravel_index(cam.argmax(), cam.shape))
            assert ((patches[1][row] // 4 <= most) & (most <= (patches[1][row] + PATCH - 1) // 4)).all()
    sentence = "not computed from the stage -1 of the encoder of 'image'; choose 0"
    with pytest.raises(UserError, match=sentence):
        explained(run, tmp_path / "last", head_of(run, kernel), layer=-1)
    with pytest.raises(
        UserError, match="has no ReLU, so guided backpropagation is the gradient; use the method grad_cam"
    ):
        explained(run, tmp_path / "guided", head_of(run, kernel), "guided_grad_cam")
