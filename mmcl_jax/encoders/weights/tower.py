"""Match a state dict with the arrays of an encoder: names, layouts and shapes."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mmcl_jax.border import read_json
from mmcl_jax.encoders.torch_names import (
    TORCHVISION_ONLY,
    Arrays,
    Layout,
    Namer,
    from_torch,
    leaves_of,
    torch_name,
    torchvision_name,
)
from mmcl_jax.encoders.weights.bert import BERT_ONLY, bert_name, check_sizes, present_names
from mmcl_jax.encoders.weights.pixels import Channels, Pixels, for_colours, for_unit_pixels, summed
from mmcl_jax.encoders.weights.read import read_state_dict
from mmcl_jax.encoders.weights.vit import (
    CLASSIFIERS,
    check_patches,
    divided,
    on_grid,
    timm_vit_name,
    torchvision_vit_name,
)
from mmcl_jax.errors import check
from mmcl_jax.files import sha256
from mmcl_jax.text import first_few

Family = Literal["resnet", "vit", "bert", "other"]
_LIBRARIES: dict[Family, tuple[Namer, ...]] = {
    "resnet": (torchvision_name,),
    "vit": (torchvision_vit_name, timm_vit_name),
    "bert": (bert_name,),
    "other": (),
}
# Tensors of the libraries that an encoder does not have; the first pattern are those that the record names.
_IGNORED: dict[Family, tuple[str, ...]] = {
    "resnet": TORCHVISION_ONLY,
    "vit": CLASSIFIERS,
    "bert": BERT_ONLY,
    "other": TORCHVISION_ONLY,
}


@dataclasses.dataclass(frozen=True)
class TowerWeights:
    """The weights of an encoder that were read from a file.

    Attributes:
      params: nested dicts of the parameters.
      statistics: nested dicts of the running statistics.
      record: what a run records of the file: path, SHA-256, names, and the tensors that were left out.
    """

    params: Arrays
    statistics: Arrays
    record: dict[str, Any]

    def describe(self, key: str) -> str:
        """Return a line that says what was read."""
        left_out = self.record["left_out"]
        out = f"; left out: {first_few(left_out)}" if left_out else ""
        pixels = {"unit": "in [0, 1]", "imagenet": "normalised as ImageNet", "inception": "in [-1, 1]"}
        given = f", for pixels {pixels[self.record['pixels']]}" if "pixels" in self.record else ""
        moved = ", position embeddings resampled" if self.record.get("resampled") else ""
        one = ", the first layer summed over its channels" if self.record.get("summed") else ""
        return (
            f"{key}: {self.record['tensors']} tensors of {self.record['file']} (SHA-256 {self.record['sha256'][:12]})"
            f"{given}{moved}{one}{out}"
        )


@dataclasses.dataclass(frozen=True)
class NameMap:
    """The names of a file, from a JSON file such as `{"prefix": "encoder.", "layout": "flax", "names": {...}}`.

    Attributes:
      prefix: the names begin with it, and all other names are left out; None to choose it by the names.
      layout: of kernels: "torch" (`[O, I, h, w]`) or "flax" (`[h, w, I, O]`); None for that of the naming.
      names: from the file's names (after the prefix) to ours, such as "stages.0.blocks.0.conv1.kernel".
    """

    prefix: str | None = None
    layout: Layout | None = None
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "NameMap":
        """Read a map.

        Raises:
          UserError: the file does not exist, or is no such map.
        """
        result: NameMap = read_json(path, cls, "write a JSON object with prefix, layout and names")
        check(
            len(set(result.names.values())) == len(result.names),
            f"{path}: names has one of our names twice; give each once.",
        )
        return result


def read_tower(
    path: Path,
    params: Arrays,
    statistics: Arrays,
    *,
    key: str,
    family: Family = "other",
    grid: tuple[int, int] = (0, 0),
    names: NameMap | None = None,
    pixels: Pixels = "unit",
    taken: Pixels = "unit",
    positions: Literal["same", "bicubic"] = "same",
    channels: Channels = "same",
) -> TowerWeights:
    """Return the weights of an encoder from a file.

    The names are ours (as in an Orbax or safetensors export), PyTorch's for our modules, torchvision's and timm's for a
    ResNet or a Vision Transformer, Hugging Face's for a BERT, or those of a `NameMap`; whichever fits best. A prefix
    that they share, such as "module." or "bert.", is found; tensors without the prefix, and a classifier (`fc`, `head`,
    `heads`, `pooler`, `cls`), are left out, and the record names them. Weights do not tell the number of attention
    heads, which the user must know.

    Args:
      path: the file, see `read.read_state_dict`.
      params: nested dicts of the encoder's parameters, or their shapes.
      statistics: nested dicts of its running statistics, or their shapes.
      key: the config key that names the file, for messages.
      family: of the encoder in torchvision, timm and Hugging Face's transformers.
      grid: of the patches of a Vision Transformer.
      names: of the file.
      pixels: the weights expect: "unit" in [0, 1], as our views are, "imagenet" normalised by ImageNet's mean and
        standard deviation, or "inception" by 0.5 and 0.5. These are then taken into the first layer. This is exact for
        patches; for the convolution and norm of a ResNet it is exact except at the border of an image, where the
        padding is black in place of the mean.
      taken: the pixels that the encoder computes on, after a normalisation of its own.
      positions: whether the position embeddings of another grid are refused, or resampled.
      channels: "sum" takes weights for colours into an encoder of grey images, as if these had three equal channels.

    Raises:
      UserError: the file cannot be read, or its tensors do not fit the encoder: one sentence lists the names.
    """
    check(
        family == "vit" or positions == "same",
        f"{key}_positions: only Vision Transformers have position embeddings; leave this key out.",
    )
    check(
        taken == "unit" or pixels == taken,
        f"{key}_pixels: the encoder normalises its pixels as ImageNet ({key.removesuffix('weights')}pixels), and these "
        f"weights are for other pixels; set one of the keys, so that both are 'imagenet' or both 'unit'.",
    )
    state, names = read_state_dict(path).tensors, names or NameMap()
    original = list(state)
    if not names.names:
        state = divided(state) if family == "vit" else present_names(state) if family == "bert" else state
    source = f"{key}: {path}"
    if channels == "sum":
        params = for_colours(params, key=key)
    naming = _naming(state, params, statistics, family=family, names=names, source=source, key=f"{key}_map")
    prefix, ignored = naming.prefix, _IGNORED[family]
    theirs = {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
    inside = {names.names.get(name, name): array for name, array in theirs.items()}
    for name, array in inside.items():
        if not re.fullmatch("|".join(ignored), name):
            check_floats(name, array, source)
    resampled = False
    if family == "resnet":
        _check_stem(inside, naming, params, source=source, key=key.removesuffix(".weights"))
    if family == "vit":
        inside, resampled = _on_patches(
            inside, naming, params, grid=grid, interpolate=positions == "bicubic", source=source, key=key
        )
    if family == "bert":
        check_sizes(
            inside, params, name=naming.name, layout=naming.layout, source=source, key=key.removesuffix(".weights")
        )
    loaded = from_torch(
        inside, params, statistics, name=naming.name, layout=naming.layout, ignored=ignored, source=source
    )
    if pixels != taken:
        loaded = for_unit_pixels(*loaded, pixels=pixels, key=key)
    if channels == "sum":
        loaded = summed(loaded[0]), loaded[1]
    return TowerWeights(
        *loaded,
        {
            "file": str(path),
            "sha256": digest(path),
            "tensors": len(list(leaves_of(params, statistics))),
            "prefix": prefix,
            **({"pixels": pixels} if family != "bert" else {}),
            **({"resampled": True} if resampled else {}),
            **({"summed": True} if channels == "sum" else {}),
            "left_out": [name for name in original if not name.startswith(prefix)]
            + [prefix + name for name in inside if re.fullmatch(ignored[0], name)],
        },
    )


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the paths and contents of all files in a folder."""
    if path.is_file():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    text = "".join(f"{file.relative_to(path)} {sha256(file)}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


class _Naming(NamedTuple):
    """How a state dict names the arrays of an encoder: a function of our paths, and what all names begin with."""

    name: Namer
    layout: Layout
    prefix: str


def _naming(
    state: Mapping[str, Any],
    params: Arrays,
    statistics: Arrays,
    *,
    family: Family,
    names: NameMap,
    source: str,
    key: str,
) -> _Naming:
    """Return the naming and the prefix by which a state dict has most of the encoder's arrays.

    `key` is the config key of the name map.

    Raises:
      UserError: there is none, or several prefixes fit alike.
    """
    namings: list[tuple[Namer, Layout]] = [(_ours, names.layout or "flax")]
    if not names.names:
        namings += [(namer, names.layout or "torch") for namer in (*_LIBRARIES[family], torch_name)]
    paths = [path for path, _ in leaves_of(params, statistics)]
    counts: dict[_Naming, int] = {}
    for name, layout in namings:
        wanted = {name(path) for path in paths}
        theirs = {ours: their for their, ours in names.names.items()}
        endings = {theirs.get(ours, ours) for ours in wanted}
        prefixes = {their.removesuffix(end) for end in endings for their in state if their.endswith(end)}
        for prefix in prefixes if names.prefix is None else {names.prefix}:
            inside = {their.removeprefix(prefix) for their in state if their.startswith(prefix)}
            counts[_Naming(name, layout, prefix)] = len(wanted & {names.names.get(their, their) for their in inside})
    most = max(counts.values(), default=0)
    best = [naming for naming, count in counts.items() if count == most]
    check(
        most > len(paths) / 10,
        f"{source}: its names, such as {first_few(state)}, are not those of the encoder, such as "
        f"{first_few([namings[:2][-1][0](path) for path in paths], 2)}; map them with {key}.",
    )
    check(
        len({naming.prefix for naming in best}) == 1,
        f"{source}: it has several encoders, {first_few(sorted(naming.prefix for naming in best))}; choose one "
        f'with {key}, a JSON file such as {{"prefix": "{best[0].prefix}"}}.',
    )
    return best[0]


def _check_stem(tensors: Mapping[str, np.ndarray], naming: _Naming, params: Arrays, *, source: str, key: str) -> None:
    """Check the first convolution of a ResNet, whose shape depends on the images and on `stem`."""
    first = naming.name(("conv", "kernel"))
    if first not in tensors or tensors[first].ndim != 4:
        return  # `from_torch` says so
    shape = tensors[first].shape
    theirs = (*shape[2:], shape[1]) if naming.layout == "torch" else shape[:3]
    (height, _, channels), ours = theirs, params["conv"]["kernel"].shape
    check(
        channels == ours[2],
        f"{source}: the weights are for images of {channels} channels, and those of the store have {ours[2]}; prepare "
        f"the store with --channels {channels}{_or_sum(channels, ours[2], key)}.",
    )
    check(
        height == ours[0],
        f"{source}: the first convolution of the weights is {height} x {height}, and that of the stem {_stem(ours[0])} "
        f"is {ours[0]} x {ours[0]}; set {key}.stem to {_stem(height)}.",
    )


def _on_patches(
    tensors: Mapping[str, np.ndarray],
    naming: _Naming,
    params: Arrays,
    *,
    grid: tuple[int, int],
    interpolate: bool,
    source: str,
    key: str,
) -> tuple[dict[str, np.ndarray], bool]:
    """Return the tensors of a Vision Transformer with positions on the grid, and whether these were resampled."""
    kernel, positions = naming.name(("patches", "kernel")), naming.name(("positions",))
    if kernel not in tensors or positions not in tensors:
        return dict(tensors), False  # `from_torch` says so
    check_patches(
        tensors[kernel],
        params["patches"]["kernel"].shape,
        layout=naming.layout,
        source=source,
        key=key.removesuffix(".weights"),
    )
    square = naming.name is torchvision_vit_name
    fitted = on_grid(tensors[positions], grid, square=square, interpolate=interpolate, source=source, key=key)
    return {**tensors, positions: fitted}, fitted is not tensors[positions]


def _or_sum(channels: int, own: int, key: str) -> str:
    return f", or set {key}.weights_channels to 'sum'" if (channels, own) == (3, 1) else ""


def _stem(side: int) -> str:
    return {7: "'imagenet'", 3: "'cifar'"}.get(side, "another network")


def _ours(path: tuple[str, ...]) -> str:
    return ".".join(path)


def check_floats(name: str, array: np.ndarray, source: str) -> None:
    """Check that a tensor holds floats that are finite in float32.

    Raises:
      UserError: it does not; naming the source and the tensor.
    """
    is_float = np.issubdtype(array.dtype, np.floating) or str(array.dtype) == "bfloat16"
    check(is_float, f"{source}: the tensor {name!r} is of type {array.dtype}; weights are floats.")
    with np.errstate(over="ignore"):
        finite = np.isfinite(array.astype(np.float32)).all()
    check(bool(finite), f"{source}: the tensor {name!r} holds numbers that are not finite in float32.")
