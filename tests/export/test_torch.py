"""The weights and modules of an export in PyTorch give what the run gives."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

import mmcl_jax as mj
from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import ENCODERS, PROJECTORS, Features, Model
from mmcl_jax.encoders.layers import batch_norm
from mmcl_jax.encoders.resnet import BasicBlock, Bottleneck, ResNet
from mmcl_jax.encoders.torch_names import leaves_of, to_torch, torchvision_name
from mmcl_jax.evaluation.heads.encoded import encoded, features_of, plain_spec, plain_values
from mmcl_jax.export import weights
from mmcl_jax.export.preprocessing import padding_of
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from tests.export.torchvision_names import torchvision_resnet
from tests.export.untrained import drawn

pytestmark = pytest.mark.foreign
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


@pytest.fixture(scope="module")
def torch() -> Any:
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def every_release(every_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("release") / "every"
    mj.export(every_run, out=out)
    return out


@pytest.fixture(scope="module")
def rows(every_run: Run, every_store: Store) -> dict[str, np.ndarray]:
    """All training rows as the store has them; tables are encoded."""
    arrays = input_arrays(every_store, "train", every_run.inputs)
    return {name: np.asarray(arrays[name][:]) for name in every_run.inputs.specs}


@pytest.fixture(scope="module")
def model(torch: Any, every_release: Path) -> Any:
    from mmcl_jax.export.modeling_torch import load

    return load(every_release)


def test_the_names_of_the_modules_are_those_that_exist(torch: Any) -> None:
    from mmcl_jax.export.modeling_torch.export import ENCODERS as MODULES
    from mmcl_jax.export.modeling_torch.layers import PROJECTORS as OTHERS

    assert set(weights.ENCODERS) == set(MODULES)
    assert set(weights.PROJECTORS) == set(OTHERS)


def test_every_encoder_is_in_the_run_that_is_exported(every_run: Run) -> None:
    """So that each new encoder is compared with PyTorch below, or is refused."""
    ours = {name for name in ENCODERS.names() if ENCODERS.factory(name).__module__.startswith("mmcl_jax.")}
    tried = {spec.name for spec in every_run.config.encoders.values()} | {"resnet50", "vit_base", "vit_small"}
    assert ours & set(weights.ENCODERS) == tried
    assert set(PROJECTORS.names()) & set(weights.PROJECTORS) == {p.name for p in every_run.config.projectors.values()}


@pytest.fixture(scope="module")
def ours(every_run: Run) -> Model:
    return every_run.model()


def test_features_of_all_encoders(torch: Any, model: Any, ours: Model, every_run: Run, rows: dict) -> None:
    specs = {name: plain_spec(every_run.config, name) for name in every_run.config.encoders}
    graph, arrays = nnx.split(ours)

    @jax.jit
    def expected(arrays: nnx.State, rows: dict, fitted: dict) -> dict[str, jax.Array]:
        encoders = nnx.merge(graph, arrays).encoders
        views = plain_values(list(specs.values()), rows, fitted)
        features = features_of(encoders, views, train=False)
        return {name: encoded(encoders, name, spec, features, train=False).pooled for name, spec in specs.items()}

    with torch.no_grad():
        theirs = model({name: torch.tensor(array) for name, array in rows.items()})
    assert set(theirs) == set(specs)
    for name, features in expected(arrays, rows, dict(every_run.inputs.fitted)).items():
        assert np.abs(features).max() > 0.1
        np.testing.assert_allclose(theirs[name].numpy(), features, **TOLERANCE, err_msg=name)


@pytest.mark.parametrize("shape", [(9, 14), (14, 9), (12, 12)])
def test_the_view_of_radiographs(torch: Any, shape: tuple[int, int]) -> None:
    """Padded to a square, resized, and repeated to three channels."""
    from mmcl_jax.export.modeling_torch.export import Export

    spec = (("channels", 3), ("modality", "image"), ("name", "frontal"), ("size", (8, 8)))
    images = np.random.default_rng(0).integers(0, 255, (3, *shape, 1), np.uint8)
    card = {"kind": "image", "dtype": "uint8", "shape": list(images.shape[1:]), "divide_by": 255, "size": [8, 8]}
    card |= padding_of(images.shape[1:], spec)
    theirs = Export.view(SimpleNamespace(card={"preprocessing": {"image": card}}), "image", torch.tensor(images))
    ours = plain_values([spec], {"image": jnp.asarray(images)}, {})[spec]
    np.testing.assert_allclose(theirs.movedim(1, -1).numpy(), ours, atol=1e-6)


def test_projections(torch: Any, model: Any, ours: Model, every_run: Run, rows: dict) -> None:
    given = {name: torch.tensor(array) for name, array in rows.items()}
    for key in every_run.config.projectors:
        modality = model.card["projectors"][key]["modality"]
        with torch.no_grad():
            features = model.encode(modality, given)
            theirs = model.project(key, features)
        local = None if features.local is None else jnp.asarray(features.local.numpy())
        expected = ours.project(key, Features(pooled=jnp.asarray(features.pooled.numpy()), local=local), train=False)

        np.testing.assert_allclose(theirs.numpy(), expected, **TOLERANCE, err_msg=key)


def test_sentences_of_a_bert(torch: Any, model: Any, ours: Model) -> None:
    """With special tokens, an absent sentence, a sentence beyond the slots, and texts without any token."""
    view = np.full((4, 5, 2), -1, np.int32)
    view[0] = [[1, -1], [2, 0], [3, 0], [2, 2], [1, -1]]
    view[1, :4] = [[1, -1], [3, 1], [2, 7], [1, -1]]
    view[2, :2] = [[1, -1], [1, -1]]
    with torch.no_grad():
        theirs = model.encoders["sentences"](torch.tensor(view))
    expected = ours.encoders["sentences"](view, train=False)
    assert theirs.mask.tolist() == expected.mask.tolist()
    np.testing.assert_allclose(theirs.pooled.numpy(), expected.pooled, **TOLERANCE)
    np.testing.assert_allclose(theirs.local.numpy(), expected.local, **TOLERANCE)
    assert not expected.pooled[2:].any()


def test_a_bert_is_a_model_of_transformers(torch: Any, every_release: Path, model: Any, rows: dict) -> None:
    transformers = pytest.importorskip("transformers")
    folder = every_release / "sentences.huggingface"
    theirs, info = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, output_loading_info=True)
    assert not any(info.values())
    texts = torch.tensor(rows["sentences"])
    view = model.view("sentences", texts)
    mask = view[..., 0] >= 0
    with torch.no_grad():
        states = theirs.eval()(input_ids=view[..., 0].clamp(min=0).long(), attention_mask=mask.long())
        ours = model({"sentences": texts})["sentences"]
    greatest = states.last_hidden_state.masked_fill(~mask[..., None], -torch.inf).amax(1)
    np.testing.assert_allclose(greatest[mask.any(1)].numpy(), ours[mask.any(1)].numpy(), **TOLERANCE)


def test_every_tensor_is_the_runs_to_the_bit(torch: Any, every_release: Path, ours: Model) -> None:
    """Read by safetensors and by PyTorch; some kernels are square, where a permutation changes no shape."""
    from safetensors.torch import load_file as load_torch

    arrays, tensors = load_file(every_release / weights.MODEL), load_torch(every_release / weights.MODEL)
    params, statistics = split_model(ours)
    parts = [{kind: tree[kind] for kind in ("encoders", "projectors") if kind in tree} for tree in (params, statistics)]
    leaves, square = dict(leaves_of(*parts)), 0
    assert len(arrays) == len(tensors) == len(leaves)
    axes = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}
    names = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
    for path, leaf in leaves.items():
        name = ".".join((*path[:-1], names.get(path[-1], path[-1]))).replace(".local.", "/local.")
        expected = np.asarray(leaf).transpose(axes[leaf.ndim]) if path[-1] == "kernel" else np.asarray(leaf)
        square += path[-1] == "kernel" and leaf.shape[-1] == leaf.shape[-2]
        np.testing.assert_array_equal(arrays[name], expected)
        np.testing.assert_array_equal(tensors[name].numpy(), expected)
    assert square > 10


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_stage_maps_of_resnets_by_torchvisions_names(torch: Any, name: str) -> None:
    """At sizes that a stride of 2 divides and does not divide; random statistics, and inputs that are all negative.

    Blocks without a stride, all of one kind, are left out of ResNet-50, whose program takes long to compile.
    """
    block, depths = (Bottleneck, (1, 2, 1, 1)) if name == "resnet50" else (BasicBlock, (2, 2, 2, 2))
    options = {"shape": (64, 64, 3), "stem": "imagenet", "width": 1 / 32, "remat": "none", "dtype": jnp.float32}
    encoder = nnx.eval_shape(lambda: ResNet(block=block, depths=depths, norm=batch_norm, rngs=nnx.Rngs(0), **options))
    graph, rng = nnx.graphdef(encoder), np.random.default_rng(0)
    arrays = [jax.tree.map(jnp.asarray, drawn(tree, rng)) for tree in split_model(encoder)]

    theirs = torchvision_resnet(torch, depths, base=2, bottleneck=name == "resnet50")
    tensors = {key: torch.from_numpy(array) for key, array in to_torch(*arrays, name=torchvision_name).items()}
    assert theirs.load_state_dict(tensors).missing_keys == []

    @jax.jit
    def maps(images: dict[int, jax.Array]) -> dict[int, tuple[jax.Array, ...]]:
        ours = nnx.merge(graph, *arrays)
        return {side: ours(batch, train=False).stages for side, batch in images.items()}

    sides = (32, 33, 63, 64)
    images = {side: rng.uniform(-1, 1, (2, side, side, 3)).astype(np.float32) for side in sides}
    for batch in images.values():
        batch[1] = -np.abs(batch[1])
    expected = maps(images)
    for side in sides:
        with torch.no_grad():
            found = theirs.eval()(torch.from_numpy(images[side]).permute(0, 3, 1, 2))
        assert len(found) == len(expected[side]) == 4
        for one, other in zip(found, expected[side], strict=True):
            np.testing.assert_allclose(one.permute(0, 2, 3, 1), other, **TOLERANCE)


def test_the_folder_needs_only_torch_and_safetensors(
    torch: Any, every_release: Path, rows: dict, tmp_path: Path
) -> None:
    """In a process of its own, by the file that is in the folder."""
    np.save(tmp_path / "image.npy", rows["image"])
    program = f"""
import sys
sys.path.insert(0, {str(every_release)!r})
import numpy as np, torch, modeling_torch
model = modeling_torch.load()
with torch.no_grad():
    features = model({{"image": torch.from_numpy(np.load("image.npy"))}})
assert list(features) == ["image"] and features["image"].shape == (10, 32)
print([name for name in sys.modules if name.partition(".")[0] in ("jax", "flax", "mmcl_jax")])
"""
    found = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (found.stdout, found.stderr) == ("[]\n", "")


def test_rows_of_another_size_or_type_are_refused(torch: Any, model: Any) -> None:
    with pytest.raises(ValueError, match=r"rows of 'image' are of the shape \[16, 16, 3\], not \[16, 17, 3\]"):
        model({"image": torch.zeros(1, 16, 17, 3, dtype=torch.uint8)})
    with pytest.raises(ValueError, match=r"rows of 'right' are uint16, not torch\.uint8"):
        model({"right": torch.zeros(1, 16, 16, 1, dtype=torch.uint8)})


def test_the_card_is_read_as_it_is(every_release: Path, model: Any) -> None:
    assert model.card == json.loads((every_release / "card.json").read_text())
