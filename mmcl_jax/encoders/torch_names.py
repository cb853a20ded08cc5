"""The names and layouts of weights in PyTorch, in both directions.

A leaf of our trees keeps the path of its module, and takes PyTorch's name and layout: `layers/0/kernel` `[I, O]` is
`layers.0.weight` `[O, I]`, `norm/scale` is `norm.weight`, `norm/mean` is `norm.running_mean`. ResNets also have the
names of torchvision and timm, in which `stages/0/blocks/1/norm2/scale` is `layer1.1.bn2.weight`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.text import first_few

Arrays = dict[Any, Any]  # nested; the keys of lists are numbers
Path = tuple[str, ...]
Namer = Callable[[Path], str]
Layout = Literal["torch", "flax"]

_LEAVES = {"kernel": "weight", "scale": "weight", "mean": "running_mean", "var": "running_var"}
# Kernels by their number of axes: linear [I, O], and convolutions [*space, I, O], in PyTorch [O, I, *space].
_AXES = {2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1), 5: (4, 3, 0, 1, 2)}
_TORCHVISION = (
    (re.compile(r"^conv\."), "conv1."),
    (re.compile(r"^norm\."), "bn1."),
    (re.compile(r"^stages\.(\d+)\.blocks\.(\d+)\."), lambda match: f"layer{int(match[1]) + 1}.{match[2]}."),
    (re.compile(r"\.norm(\d)\."), r".bn\1."),
    (re.compile(r"\.shortcut\.conv\."), ".downsample.0."),
    (re.compile(r"\.shortcut\.norm\."), ".downsample.1."),
)
# Tensors of torchvision's and timm's ResNets that an encoder does not have: the classifier, and counts of batches.
TORCHVISION_ONLY = (r"fc\.(weight|bias)", r".*\bnum_batches_tracked")


def torch_name(path: Path) -> str:
    """Return the name of a leaf with PyTorch's names of parameters and statistics.

    Example:
      >>> torch_name(("layers", "0", "kernel")), torch_name(("norm", "var"))
      ('layers.0.weight', 'norm.running_var')
    """
    *module, leaf = path
    return ".".join(part.replace(".", "/") for part in (*module, _LEAVES.get(leaf, leaf)))


def torchvision_name(path: Path) -> str:
    """Return the name of a leaf of `encoders.resnet.ResNet` in torchvision and timm.

    Example:
      >>> torchvision_name(("stages", "1", "blocks", "0", "shortcut", "norm", "scale"))
      'layer2.0.downsample.1.weight'
    """
    name = torch_name(path)
    for pattern, replacement in _TORCHVISION:
        name = pattern.sub(replacement, name)
    return name


def leaves_of(*trees: Arrays) -> Iterator[tuple[Path, Any]]:
    """Yield the path and the array of every leaf of nested dicts."""
    for tree in trees:
        for key, value in tree.items():
            if isinstance(value, dict):
                yield from (((str(key), *path), leaf) for path, leaf in leaves_of(value))
            else:
                yield (str(key),), value


def to_torch(params: Arrays, statistics: Arrays, *, name: Namer = torch_name) -> dict[str, np.ndarray]:
    """Return weights as PyTorch has them: by its names, in its layouts, each array contiguous in memory.

    Args:
      params: nested dicts, as `split_model` returns them.
      statistics: the model state, likewise: the running statistics of normalisation.
      name: `torch_name`, or for the tree of a ResNet `torchvision_name`.

    Example:
      >>> weights = to_torch({"layer": {"kernel": np.ones((3, 2)), "bias": np.zeros(2)}}, {})
      >>> {name: array.shape for name, array in weights.items()}
      {'layer.weight': (2, 3), 'layer.bias': (2,)}
    """
    tensors: dict[str, np.ndarray] = {}
    for path, leaf in leaves_of(params, statistics):
        array = np.asarray(leaf)
        axes = _AXES.get(array.ndim) if path[-1] == "kernel" else None
        if (named := name(path)) in tensors:
            raise ValueError(f"two arrays have the name {named!r}")
        # safetensors writes an array's memory as if it were contiguous, so a transposed view would be permuted.
        tensors[named] = np.array(array if axes is None else array.transpose(axes), order="C")
    return tensors


def from_torch(
    tensors: Mapping[str, Any],
    params: Arrays,
    statistics: Arrays,
    *,
    name: Namer = torch_name,
    layout: Layout = "torch",
    ignored: Collection[str] = TORCHVISION_ONLY,
    source: str = "the weights",
) -> tuple[Arrays, Arrays]:
    """Return parameters and statistics with the values of PyTorch's tensors; the inverse of `to_torch`.

    Args:
      tensors: arrays by PyTorch's names.
      params: nested dicts whose leaves have the `shape` and `dtype` of the results, such as `jax.ShapeDtypeStruct`.
      statistics: likewise.
      name: `torch_name`, or for the tree of a ResNet `torchvision_name`; another function for other names.
      layout: of kernels; "flax" for ours.
      ignored: regular expressions for the names of further tensors, which are left out.
      source: of the tensors, such as a file, for messages.

    Raises:
      UserError: tensors are missing or have other shapes, or further tensors are not `ignored`; a sentence names them.
    """
    names = {name(path) for path, _ in leaves_of(params, statistics)}
    missing = sorted(names - tensors.keys())
    unexpected = [n for n in tensors if n not in names and not any(re.fullmatch(pattern, n) for pattern in ignored)]
    words = [f"it lacks {first_few(missing)}, which the encoder has"] if missing else []
    words += [f"it has {first_few(unexpected)}, which the encoder lacks"] if unexpected else []
    check(not words, f"{source}: the names do not fit: {', and '.join(words)}; give the weights of the same encoder.")

    def filled(tree: Arrays, above: Path) -> Arrays:
        return {
            key: filled(value, (*above, str(key))) if isinstance(value, dict) else leaf((*above, str(key)), value)
            for key, value in tree.items()
        }

    def leaf(path: Path, like: Any) -> np.ndarray:
        axes = _AXES.get(len(like.shape)) if path[-1] == "kernel" and layout == "torch" else None
        array = np.asarray(tensors[name(path)])
        expected = tuple(like.shape) if axes is None else tuple(like.shape[axis] for axis in axes)
        check(
            array.shape == expected,
            f"{source}: the tensor {name(path)!r} is of shape {list(array.shape)}, and the encoder needs "
            f"{list(expected)}.",
        )
        ours = array if axes is None else array.transpose(np.argsort(axes))
        return np.array(ours, dtype=like.dtype, order="C")

    return filled(params, ()), filled(statistics, ())
