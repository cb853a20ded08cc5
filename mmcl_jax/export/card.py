"""`card.json`: what an export holds, in strict JSON: architecture, preprocessing, metrics and provenance."""

import collections
import dataclasses
import datetime
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from mmcl_jax import __version__
from mmcl_jax.border import to_json
from mmcl_jax.encoders import ENCODERS, PROJECTORS, parse_key, view_specs
from mmcl_jax.encoders.fusions import inputs_of, parts_of_views
from mmcl_jax.encoders.pooling import AttentionPool
from mmcl_jax.evaluation.results.file import read_entries
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.export.formats import Written
from mmcl_jax.export.preprocessing import preprocessing_of
from mmcl_jax.export.release import Release
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run, read_origin
from mmcl_jax.training.state.train_state import split_model
from mmcl_jax.versions import versions

CARD, FORMAT = "card.json", 1


def card_of(release: Release, files: Mapping[str, Sequence[Written]], *, command: str) -> dict[str, Any]:
    """Return the card of an export as JSON values.

    Args:
      release: what is exported.
      files: that were written, by the name of their format.
      command: that makes the export.

    Raises:
      UserError: the results file of the run is damaged.
    """
    run, config = release.run, to_plain(release.run.config)
    described = [
        {"file": one.file, "format": name, "about": one.about, **one.details}
        for name, several in files.items()
        for one in several
    ]
    return strict(
        {
            "format": FORMAT,
            "name": config["name"],
            "inputs": list(release.inputs),
            "weights": release.weights,
            "encoders": {name: encoder_card(release, name) for name in release.modalities},
            "projectors": {key: _projector(release, key) for key in release.projectors},
            "batch_norm": {"epsilon": config["batch_norm"]["epsilon"], "momentum": config["batch_norm"]["momentum"]},
            "preprocessing": {name: preprocessing_of(release, name) for name in release.sources},
            "head": None if release.head is None else _head(release),
            "metrics": _metrics(release),
            "files": described,
            "restriction": _restriction(run),
            "provenance": {
                "command": command,
                "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                "mmcl_jax": __version__,
                "jax": jax.__version__,
                "versions": versions(),
                "device": jax.devices()[0].device_kind,
                "seed": config["seed"],
                "fold": config["fold"],
                "step": release.step,
                "store": run.fingerprint,
            },
            "config": {**config, "data": str(config["data"]).rstrip("/").rpartition("/")[2]},
        }
    )


def encoder_card(release: Release, modality: str) -> dict[str, Any]:
    """Return the architecture of an encoder: its name and options, its input, and the sizes of its features."""
    config, encoder = release.run.config, release.model.encoders[modality]
    spec = config.encoders[modality]
    options = {key: spec[key] for key in ENCODERS.options(spec.name)}
    card: dict[str, Any] = {
        "name": spec.name,
        "options": options,
        "kind": "fusion",
        "reads": list(inputs_of(config.views, modality)),
        "features": encoder.out_features,
        "local_features": encoder.out_local_features,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(split_model(encoder)[0])),
        "dtype": config.dtype,
    }
    if isinstance(encoder.attention_pool, AttentionPool):
        pool = encoder.attention_pool
        card["pooling"] = {"name": "attention", "heads": pool.attention.heads, "mean": pool.mean}
    views = view_specs(config, release.run.inputs.specs)
    if modality in views:
        view = views[modality]
        card |= {"kind": view.kind, "shape": view.shape, "widths": view.widths, "missing": view.missing}
        return card | ({"bin_edges": view.bin_edges} if view.bin_edges else {})
    fused = (texts for name, texts in parts_of_views(config.views).items() if config.views[name].modality == modality)
    (of,) = {tuple(_modality_of(config.views, text) for text in texts) for texts in fused}  # `check_fused` checked it
    widths = [_width(release.model.encoders[parse_key(text).modality], local=parse_key(text).local) for text in of]
    return {**card, "of": list(of), "parts": widths}


def _modality_of(views: Any, text: str) -> str:
    """Return a text of a fused view with the modality in place of the view."""
    view, local, _ = parse_key(text)
    return views[view].modality + (".local" if local else "")


def _width(encoder: Any, *, local: bool) -> int:
    return encoder.out_local_features if local else encoder.out_features


def _projector(release: Release, key: str) -> dict[str, Any]:
    spec, read = release.run.config.projectors[key], parse_key(key)
    return {
        "name": spec.name,
        "options": {option: spec[option] for option in PROJECTORS.options(spec.name)},
        "modality": read.modality,
        "local": read.local,
        "features": _width(release.model.encoders[read.modality], local=read.local),
        "out": release.model.projectors[key].out_features,
    }


def _head(release: Release) -> dict[str, Any]:
    assert release.head is not None
    trained = release.head.trained
    features, outputs = np.shape(trained.params["kernel"])
    return {
        "name": trained.head.name,
        "modalities": list(trained.reads),
        "reads": trained.head.reads,
        "size": list(trained.head.size) if hasattr(trained.head, "size") else None,
        "features": features,
        "outputs": outputs,
        "task": {"name": trained.task.name, **dataclasses.asdict(trained.task)},
        "labels": {label: list(texts) for label, texts in release.head.labels.items()},
    }


def _restriction(run: Run) -> str | None:
    """Return who may use what is trained on the data of a run, as their recipe says; None if anybody."""
    recipe = read_origin(run.directory).get("recipe") or {}
    restriction = recipe.get("restriction")
    return f"{recipe.get('name')}: {restriction}" if isinstance(restriction, str) and restriction else None


def _metrics(release: Release) -> list[dict[str, Any]]:
    """Return the scores on test of exactly these weights: the mean and standard deviation over draws."""
    run = release.run
    if release.head is not None:
        return _summarised([release.head.score.to_json()])
    if release.weights == "last" and run.config.average.kind:
        return []  # the scores are those of the averages
    own = Source("run", run).of().items()
    entries = read_entries(run.directory / "evaluation.json")
    whole = [entry for entry in entries if not entry.get("missing")]
    return _summarised(entry for entry in whole if own <= (entry.get("of") or {}).items())


def _summarised(scores: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    groups = collections.defaultdict[tuple, list[Mapping[str, Any]]](list)
    keys = ("protocol", "input", "label", "budget", "task", "fold")
    for score in scores:
        store = (score.get("of") or {}).get("store")
        groups[(*(score.get(key) for key in keys), store)].append(score["metrics"])
    summaries = []
    for key, several in groups.items():
        names = dict.fromkeys(name for metrics in several for name in metrics)
        values = {name: [metrics[name] for metrics in several if _is_number(metrics.get(name))] for name in names}
        metrics = {
            name: {"mean": float(np.mean(of)), "std": float(np.std(of))} if len(of) == len(several) else None
            for name, of in values.items()
        }
        summaries.append({**dict(zip((*keys, "store"), key, strict=True)), "draws": len(several), "metrics": metrics})
    return summaries


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def strict(value: Any) -> Any:
    """Return values as strict JSON has them: numbers that are not finite are None, tuples and arrays lists."""
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, tuple | list):
        return [strict(item) for item in value]
    return value if not isinstance(value, float) or math.isfinite(value) else None


def dumped(card: Mapping[str, Any]) -> str:
    """Return a card as the text of its file."""
    return to_json(card, indent=2, ascii=False) + "\n"
