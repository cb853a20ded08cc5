"""The format "safetensors": weights by PyTorch's names and in its layouts, with the modules in PyTorch beside them.

model.safetensors               all encoders and projectors, and the head
preprocessing.safetensors       fitted arrays of the preprocessing, if it has any
NAME.torchvision.safetensors    a ResNet by the names of torchvision and timm, for each that the export has
NAME.huggingface/               a BERT as Hugging Face's transformers has it, for each that the export has
modeling_torch/                 the encoders in PyTorch, which load these files
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mmcl_jax.border import to_json
from mmcl_jax.encoders.pooling import POOL
from mmcl_jax.encoders.resnet import ResNet
from mmcl_jax.encoders.torch_names import Arrays, to_torch, torchvision_name
from mmcl_jax.encoders.transformers.bert import EPSILON, Bert
from mmcl_jax.encoders.weights.bert import SETTINGS, bert_name
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.export.formats import Written
from mmcl_jax.export.preprocessing import ARRAYS, arrays_of, views_of
from mmcl_jax.export.release import Release
from mmcl_jax.training.state.train_state import split_model

MODEL, MODULES = "model.safetensors", "modeling_torch"
# What `modeling_torch` has; lists, since it cannot be imported without PyTorch.
ENCODERS = ("bert", "cnn", "cnn3d", "concat_mlp", "cross_attention", "daft", "dcgan", "genetics_mlp", "max", "mul",
            "resnet18", "resnet1d_cbam", "resnet50", "table_mlp", "table_transformer", "text_embedding", "vector_mlp",
            "vit", "vit_base", "vit_small")  # fmt: skip
PROJECTORS = ("identity", "latent_mlp", "linear", "local_shortcut", "lovt_mlp", "mlp", "mlp_norm")
VIEWS = ("augment", "augment_volume", "frontal", "report", "resized", "resized_volume", "rows", "scan", "scarf",
         "tokens", "vector", "vector_scarf")  # fmt: skip

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
    berts = [name for name in release.modalities if isinstance(release.model.encoders[name], Bert)]
    files += [_hugging_face(release, name, folder) for name in berts]
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
    file = _file_name(name) + ".torchvision.safetensors"
    save(folder / file, to_torch(*_tower(release, name), name=torchvision_name))
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


def _hugging_face(release: Release, name: str, folder: Path) -> Written:
    """Write the weights and the settings of a BERT as Hugging Face's library reads them."""
    encoder = release.model.encoders[name]
    assert isinstance(encoder, Bert)
    vocabulary, width = encoder.tokens[...].shape
    settings = {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": len(encoder.blocks),
        "num_attention_heads": encoder.blocks[0].heads,
        "intermediate_size": encoder.blocks[0].hidden.out_features,
        "max_position_embeddings": len(encoder.positions[...]),
        "type_vocab_size": len(encoder.types[...]),
        "hidden_act": "gelu",
        "layer_norm_eps": EPSILON,
        "hidden_dropout_prob": encoder.dropout,
        "attention_probs_dropout_prob": encoder.dropout,
        "position_embedding_type": "absolute",
        "pad_token_id": None,
    }
    file = _file_name(name) + ".huggingface"
    (folder / file).mkdir()
    save(folder / file / MODEL, to_torch(*_tower(release, name), name=bert_name))
    (folder / file / SETTINGS).write_text(to_json(settings, indent=2) + "\n", encoding="utf-8")
    usage = (
        f"`{file}` is a model of Hugging Face's transformers:\n\n```python\nimport transformers\n\n"
        f"model = transformers.BertModel.from_pretrained({json.dumps(file)}, add_pooling_layer=False)\n```\n\n"
        "The vector of a sentence is the maximum of `last_hidden_state` over its tokens, without the special tokens."
    )
    return Written(file=file, about=f"The {name} encoder as a model of Hugging Face's transformers.", usage=usage)


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)


def _tower(release: Release, name: str) -> tuple[Arrays, Arrays]:
    """Return the parameters and statistics of an encoder, without the pooling behind it."""
    params, statistics = split_model(release.model.encoders[name])
    return {part: leaves for part, leaves in params.items() if part != POOL}, statistics


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
