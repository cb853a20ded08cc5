"""The names and layouts of weights in PyTorch are a bijection with ours."""

import jax
import numpy as np
import pytest
from flax import nnx

from mmcl_jax.encoders.resnet import resnet18, resnet50
from mmcl_jax.encoders.torch_names import from_torch, leaves_of, to_torch, torch_name, torchvision_name
from mmcl_jax.errors import UserError
from mmcl_jax.training.state.train_state import Arrays, split_model

LIKE = np.float32


def drawn(tree: Arrays, rng: np.random.Generator) -> Arrays:
    return {
        key: drawn(value, rng) if isinstance(value, dict) else rng.normal(size=value.shape).astype(LIKE)
        for key, value in tree.items()
    }


@pytest.mark.parametrize("make", [resnet18, resnet50])
@pytest.mark.parametrize("name", [torch_name, torchvision_name])
def test_there_and_back(make, name) -> None:
    shapes = split_model(nnx.eval_shape(lambda: make(shape=(8, 8, 3), rngs=nnx.Rngs(0), width=0.05)))
    rng = np.random.default_rng(0)
    ours = tuple(drawn(tree, rng) for tree in shapes)
    theirs = to_torch(*ours, name=name)
    assert all(tensor.flags.c_contiguous for tensor in theirs.values())
    back = from_torch({**theirs, "fc.weight": 0, "bn1.num_batches_tracked": 0}, *shapes, name=name)
    assert jax.tree.structure(back) == jax.tree.structure(ours)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(ours), strict=True):
        np.testing.assert_array_equal(one, other)


def test_torchvisions_names() -> None:
    """Names from torchvision.models.resnet50, one of each kind; a 1x1 and a square kernel are transposed."""
    params, statistics = split_model(nnx.eval_shape(lambda: resnet50(shape=(8, 8, 3), rngs=nnx.Rngs(0))))
    shapes = {torchvision_name(path): leaf.shape for path, leaf in leaves_of(params, statistics)}
    assert len(shapes) == 53 + 53 * 4  # torchvision's state_dict without fc (2) and num_batches_tracked (53): 320 - 55
    for name, shape in {
        "conv1.weight": (7, 7, 3, 64),
        "bn1.running_mean": (64,),
        "layer1.0.downsample.0.weight": (1, 1, 64, 256),
        "layer1.0.downsample.1.running_var": (256,),
        "layer3.5.conv2.weight": (3, 3, 256, 256),
        "layer4.2.bn3.bias": (2048,),
    }.items():
        assert shapes[name] == shape


def test_a_square_kernel_is_transposed() -> None:
    kernel = np.arange(9, dtype=LIKE).reshape(3, 3)
    (tensor,) = to_torch({"layer": {"kernel": kernel}}, {}).values()
    np.testing.assert_array_equal(tensor, kernel.T)
    assert tensor.flags.c_contiguous


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({}, "w.pt: the names do not fit: it lacks layer.weight, which the encoder has; give the weights"),
        ({"layer.weight": np.ones((2, 3))}, "'layer.weight' is of shape [2, 3], and the encoder needs [3, 2]"),
        ({"layer.weight": np.ones((3, 2)), "layer.scale": 0}, "it has layer.scale, which the encoder lacks"),
    ],
)
def test_tensors_of_another_model_are_refused(tensors, sentence) -> None:
    like = {"layer": {"kernel": jax.ShapeDtypeStruct((2, 3), LIKE)}}
    with pytest.raises(UserError) as error:
        from_torch(tensors, like, {}, source="w.pt")
    assert sentence in str(error.value)
