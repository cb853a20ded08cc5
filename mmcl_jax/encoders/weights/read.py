"""Read a state dict, arrays by name, from a file of any of the formats that weights are passed on in."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_jax.encoders.weights.pickled import TensorRef
from mmcl_jax.encoders.weights.torch_file import read_torch
from mmcl_jax.errors import UserError, check
from mmcl_jax.text import first_few, words_of

# Where programs keep the state dict in what they save, in the order in which it is looked for.
_NESTED = ("state_dict", "model_state_dict", "model", "net", "module")


@dataclasses.dataclass(frozen=True)
class StateDict:
    """A state dict that was read.

    Attributes:
      tensors: arrays by name, in the order of the file.
      settings: the plain values (numbers and texts) of the hyper-parameters beside the state dict, {} without any.
    """

    tensors: dict[str, np.ndarray]
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)


def read_state_dict(path: Path) -> StateDict:
    """Read the state dict of a file of safetensors, NumPy (.npz) or PyTorch, or of an Orbax folder of parameters.

    The format is told from the content. In a file of PyTorch, the state dict may lie under a key such as `state_dict`
    or `model`. In nested dicts of Orbax, a name is the path, joined by dots.

    Raises:
      UserError: the file does not exist, is damaged, holds no arrays, or names what could run code.
    """
    if path.is_dir():
        return StateDict(_orbax(path))
    check(path.is_file(), f"{path} does not exist; give a file of weights (.safetensors, .pth, .pt, .ckpt or .npz).")
    with path.open("rb") as file:
        start = file.read(9)
    if start[8:] == b"{":
        return StateDict(_safetensors(path))
    if start[:4] == b"PK\x03\x04" and path.suffix == ".npz":
        return StateDict(_npz(path))
    content, fetch = read_torch(path)
    state = _state_dict(content)
    check(state is not None, f"{path} holds no state dict (names with tensors); save one with torch.save.")
    assert state is not None
    tensors = {name: fetch(ref) for name, ref in state.items() if isinstance(ref, TensorRef)}
    other = [name for name, value in state.items() if not isinstance(value, TensorRef)]
    check(not other, f"{path}: the state dict has {first_few(other)}, which are no tensors; save tensors alone.")
    settings = content.get("hyper_parameters")
    plain = settings.items() if isinstance(settings, dict) else ()
    return StateDict(tensors, {key: value for key, value in plain if isinstance(value, str | int | float)})


def _state_dict(content: Any) -> Mapping[str, Any] | None:
    """Return the dict of tensors in what was saved; None if there is none."""
    for _ in range(3):
        if not isinstance(content, dict):
            return None
        nested = [content[key] for key in _NESTED if isinstance(content.get(key), dict) and content[key]]
        if not nested:
            break
        content = nested[0]
    has_tensors = all(isinstance(key, str) for key in content) and any(
        isinstance(value, TensorRef) for value in content.values()
    )
    return content if has_tensors else None


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (safetensors.SafetensorError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({words_of(error)}); get the file again.") from error


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name.replace("/", "."): file[name] for name in file.files}
    except Exception as error:  # zipfile, zlib and NumPy raise errors of many kinds for a damaged file
        raise UserError(f"{path} is damaged ({next(iter(str(error).splitlines()), '')}); get it again.") from error


def _orbax(path: Path) -> dict[str, np.ndarray]:
    from orbax.checkpoint import v1 as ocp

    try:
        content = ocp.load(path.absolute())
    except Exception as error:  # Orbax, TensorStore and JSON raise errors of many kinds for a damaged file
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise UserError(f"{path} is no Orbax checkpoint of arrays ({reason}); give another folder.") from error
    check(isinstance(content, Mapping), f"{path} holds no nested dicts of arrays; give another folder.")
    # `mmcl export --format orbax` writes two trees of one structure.
    trees = content.values() if content.keys() == {"params", "statistics"} else [content]
    return dict(pair for tree in trees for pair in _flat(tree, ""))


def _flat(tree: Mapping[Any, Any], prefix: str) -> list[tuple[str, np.ndarray]]:
    flat: list[tuple[str, np.ndarray]] = []
    for key, value in tree.items():
        name = f"{prefix}{key}"
        flat += _flat(value, f"{name}.") if isinstance(value, Mapping) else [(name, np.asarray(value))]
    return flat
