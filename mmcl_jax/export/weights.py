"""The format "safetensors": weights by PyTorch's names and in its layouts, with the modules in PyTorch beside them.

model.safetensors               all encoders and projectors, and the head
preprocessing.safetensors       fitted arrays of the preprocessing, if it has any
NAME.torchvision.safetensors    a ResNet by the names of torchvision and timm, for each that the export has
modeling_torch/                 the encoders in PyTorch, which load these files
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mmcl_jax.encoders.pooling import POOL
from mmcl_jax.encoders.resnet import ResNet
from mmcl_jax.encoders.torch_names import to_torch, torchvision_name
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.export.formats import Written
from mmcl_jax.export.preprocessing import ARRAYS, arrays_of, views_of
from mmcl_jax.export.release import Release
from mmcl_jax.training.state.train_state import split_model

MODEL, MODULES = "model.safetensors", "modeling_torch"
# What `modeling_torch` has; lists, since it cannot be imported without PyTorch.
ENCODERS = ("cnn", "cnn3d", "concat_mlp", "cross_attention", "daft", "dcgan", "genetics_mlp", "max", "mul",
            "resnet18", "resnet1d_cbam", "resnet50", "table_mlp", "table_transformer", "text_embedding", "vector_mlp",
            "vit", "vit_base", "vit_small")  # fmt: skip
PROJECTORS = ("identity", "latent_mlp", "linear", "local_shortcut", "lovt_mlp", "mlp", "mlp_norm")
VIEWS = ("augment", "augment_volume", "frontal", "resized", "resized_volume", "rows", "scan", "scarf", "tokens",
         "vector", "vector_scarf")  # fmt: skip

_USAGE = """With PyTorch and safetensors alone:

```python
import sys

sys.path.insert(0, ".")  # the folder of this README
import modeling_torch

model = modeling_torch.load()
features = model({{{inputs}}})  # features [N, D] by modality
```

`card.json` says what rows of each input are (key `preprocessing`).{tables}"""


def check_release(release: Release) -> None:
    """Raise `UserError` if an encoder, a projector or a view of the release has no form in `modeling_torch`."""
    config = release.run.config
    parts: list[tuple[str, tuple[str, ...], str, str]] = []
    parts += [("encoder", ENCODERS, name, config.encoders[name].name) for name in release.modalities]
    parts += [("projector", PROJECTORS, key, config.projectors[key].name) for key in release.projectors]
    parts += [("view", VIEWS, name, view) for name, view in views_of(release).items()]
    for what, known, key, name in parts:
        check(
            name in known,
            f"--format: the {what} {name!r} of {key!r} has no form in PyTorch, which has {', '.join(known)}; export "
            f"with --format orbax, or other inputs with --input.",
        )


def write(release: Release, folder: Path) -> list[Written]:
    """Write the weights, the arrays of the preprocessing and the modules."""
    tensors = to_torch(*release.arrays())
    if release.head is not None:
        tensors |= _head(release.head)
    save(folder / MODEL, tensors)
    files = [Written(file=MODEL, about=_about(release), usage=_usage(release))]
    if arrays := arrays_of(release):
        save(folder / ARRAYS, arrays)
        files.append(Written(file=ARRAYS, about="Fitted arrays of the preprocessing, as card.json describes it."))

    resnets = [name for name in release.modalities if isinstance(release.model.encoders[name], ResNet)]
    files += [_torchvision(release, name, folder) for name in resnets]
    shutil.copytree(Path(__file__).parent / MODULES, folder / MODULES, ignore=shutil.ignore_patterns("__pycache__"))
    files.append(Written(file=MODULES, about="The encoders and their preprocessing in PyTorch."))
    return files


def save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write arrays as safetensors; each is contiguous, since safetensors 0.8 permutes the values of a strided array."""
    contiguous = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()}
    save_file(contiguous, path, metadata={"format": "pt"})


def _about(release: Release) -> str:
    parts = [f"the encoders of {', '.join(release.modalities)}"]
    parts += ["their projectors"] if release.projectors else []
    parts += ["the head"] if release.head is not None else []
    return f"The weights of {' and '.join(parts)}, by the names and in the layouts of PyTorch."


def _usage(release: Release) -> str:
    inputs = ", ".join(f"{json.dumps(name)}: rows" for name in release.sources)
    tables = [name for name in release.sources if name in release.run.inputs.tables]
    cells = f" `model.rows({json.dumps(tables[0])}, cells)` encodes raw cells of a table." if tables else ""
    return _USAGE.format(inputs=inputs, tables=cells)


def _torchvision(release: Release, name: str, folder: Path) -> Written:
    encoder = release.model.encoders[name]
    file = re.sub(r"[^\w.-]", "_", name) + ".torchvision.safetensors"
    tower = ({part: leaves for part, leaves in tree.items() if part != POOL} for tree in split_model(encoder))
    save(folder / file, to_torch(*tower, name=torchvision_name))
    spec = release.run.config.encoders[name]
    differs = [f"a width of {spec.width:g}"] if spec.width != 1 else []
    differs += ["a 3x3 stem without pooling"] if spec.stem == "cifar" else []
    note = f" It has {' and '.join(differs)}, which torchvision's class has not." if differs else ""
    usage = (
        f"`{file}` has the names of torchvision and timm:\n\n```python\nimport torch\nimport torchvision\n"
        f"from safetensors.torch import load_file\n\nmodel = torchvision.models.{spec.name}()\n"
        f"model.fc = torch.nn.Identity()\nmodel.load_state_dict(load_file({json.dumps(file)}))\n```\n\n"
        "Its input is the view that `card.json` describes, as [N, C, H, W] in [0, 1], "
        + ("normalised by" if spec.get("pixels") == "imagenet" else "without")
        + " ImageNet's mean and deviation."
    )
    plain = not differs and release.run.inputs.specs[name].shape[-1] == 3
    return Written(
        file=file, about=f"The {name} encoder by the names of torchvision and timm.{note}", usage=usage if plain else ""
    )


def _head(head: KeptHead) -> dict[str, np.ndarray]:
    """Return the arrays of a head by the names of `modeling_torch.layers.Head`."""
    kernel, outputs = np.asarray(head.trained.params["kernel"]), head.trained.task.outputs
    features = len(kernel)
    standard = head.standard
    return {
        "head.layer.weight": kernel.T,
        "head.layer.bias": np.asarray(head.trained.params["bias"]),
        "head.mean": np.zeros(features) if standard is None else np.asarray(standard.mean, np.float64),
        "head.scale": np.ones(features) if standard is None else np.asarray(standard.scale, np.float64),
        "head.unit_shift": np.full(outputs, head.trained.units.shift, np.float32),
        "head.unit_scale": np.full(outputs, head.trained.units.scale, np.float32),
    }
