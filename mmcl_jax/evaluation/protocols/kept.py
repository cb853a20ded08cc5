"""Heads that `mmcl evaluate --keep` saves, and that predict again.

A head is a folder:

head.json        what it reads and predicts, the run, and the score that it got
arrays.npz       its weights, what its features and targets are standardised by, and the encoders if they were trained
checksums.json   size and SHA-256 of both
"""

import dataclasses
import functools
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from mmcl_jax import __version__
from mmcl_jax.backend import compiler_options
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.batches import Examples, in_parts
from mmcl_jax.evaluation.heads.dense import LinearSegmentation
from mmcl_jax.evaluation.heads.encoded import Encoders, FeatureEncoder
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.protocols.finetune import encoders_of, most_pictures
from mmcl_jax.evaluation.results.file import identity
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.files import CHECKSUMS, atomic, damage, reading, write_checksums
from mmcl_jax.tasks import TASKS, Units
from mmcl_jax.training.mesh import by_example, local_mesh, replicated
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model

FORMAT = 1
FOLDER, ABOUT, ARRAYS = "heads", "head.json", "arrays.npz"
HEADS: dict[str, type[LinearHead]] = {head.name: head for head in (LinearHead, LinearSegmentation)}
_ANEW = "put a copy of it back, or keep the head again with mmcl evaluate --keep"
_LONGEST = 120  # characters of a folder's name, without those that tell equal names apart
_CHUNK = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptHead:
    """A trained head with all that its predictions take.

    Attributes:
      source: the run, or the baseline, whose inputs and encoders the head takes.
      trained: what was trained: reads, task, head, weights, and encoders if they were trained too.
      standard: what the features are standardised by; None for a head that takes them as they are.
      labels: the texts of the classes of each label; () of a number.
      of: what was evaluated and how, as it stands in the results file.
      score: what the head got on test.
    """

    source: Source
    trained: Trained
    standard: Standard | None
    labels: Mapping[str, tuple[str, ...]]
    of: Mapping[str, Any]
    score: Score

    def outputs(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Return what the head predicts: logits, or numbers in units of the label.

        Args:
          rows: by input, rows as the encoders take them (`Source.inputs`; tables are encoded).

        Returns:
          `[N, outputs]`, of a mask `[N, H, W, classes]`.

        Raises:
          UserError: an input is missing, or the run's weights are not finite.
        """
        inputs = self.source.inputs_of(self.trained.reads)
        for name in inputs:
            check(name in rows, f"The head reads {' and '.join(inputs)}; give it rows of {name!r}.")
        if self.standard is None:
            return self.trained.outputs(self._encoded({name: rows[name] for name in inputs}))
        found = []
        for modality in self.trained.reads:
            encode = self.source.encoder(modality, self.trained.head.reads)
            found.append(encode({name: rows[name] for name in self.source.inputs_of([modality])}))
        return self.trained.outputs(self.standard.apply(np.concatenate(found, axis=-1)))

    def _encoded(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Return pooled features `[N, D]` by the encoders that were trained, or else by the run's."""
        run, reads, encoder = self.source.run, self.trained.reads, self.trained.encoder
        model = self.source.model if encoder is None else nnx.eval_shape(run.untrained_model)
        encoders, module = encoders_of(model, run.config, reads)
        if encoder is None:
            params, statistics = split_model(module)
            encoder = FeatureEncoder(params=params, statistics=statistics, fitted=_fitted(self.source, reads))
        size = max(1, _CHUNK // most_pictures(rows, encoders))
        mesh = local_mesh(size)
        encode, encoder = _program(encoders, run.config.dtype), jax.device_put(encoder, replicated(mesh))
        count = len(next(iter(rows.values())))
        found = [
            np.asarray(encode(encoder, jax.device_put(part, by_example(mesh))))
            for part in in_parts(Examples(rows, np.zeros(count)), size)
        ]
        return np.concatenate(found)[:count]

    def write(self, folder: Path) -> Path:
        """Write the head in one piece into a folder of its own in `folder`, and return that."""
        path = folder / name_of(self.of, self.score.draw)
        at = os.path.relpath(self.source.run.directory, path) if folder == heads_of(self.source.run) else None
        about = {
            "format": FORMAT,
            "mmcl_jax": __version__,
            "run": at or str(self.source.run.directory.absolute()),
            "fingerprint": self.source.run.fingerprint,
            "reads": list(self.trained.reads),
            "task": {"name": self.trained.task.name, **dataclasses.asdict(self.trained.task)},
            "labels": {label: list(texts) for label, texts in self.labels.items()},
            "head": {"name": self.trained.head.name, **dataclasses.asdict(self.trained.head)},
            "rate": self.trained.rate,
            "round": self.trained.round,
            "rounds": self.trained.rounds,
            "reached": None if math.isnan(self.trained.reached) else self.trained.reached,
            "of": dict(self.of),
            "score": self.score.to_json(),
        }
        with atomic(path) as partial:
            partial.mkdir(parents=True)
            (partial / ABOUT).write_text(json.dumps(about, indent=2) + "\n")
            np.savez(partial / ARRAYS, **_named(_tree(self.trained, self.standard)))  # type: ignore[arg-type]
            write_checksums(partial, [partial / ABOUT, partial / ARRAYS])
        return path


def heads_of(run: Run, keep: bool | Path = True) -> Path:
    """Return the folder that the heads of a run are kept in: its own, or the one that `--keep` names."""
    return run.directory / FOLDER if isinstance(keep, bool) else keep


def name_of(of: Mapping[str, Any], draw: int) -> str:
    """Return the name of a head's folder: what was evaluated, in words, and a hash that no other head has."""
    said = (of["run"], of["method"], of["protocol"], of["input"], of["label"], of["budget"], draw)
    words = "-".join(re.sub(r"[^A-Za-z0-9]+", "_", str(part)).strip("_") for part in said)
    return f"{words[:_LONGEST]}-{identity(of, draw)[:8]}"


def is_kept(folder: Path, of: Mapping[str, Any], draw: int) -> bool:
    """Return whether a head is in `folder`, as it was written."""
    path = folder / name_of(of, draw)
    return (path / CHECKSUMS).is_file() and damage(path) is None


def load_head(directory: Path, run: Run | None = None) -> KeptHead:
    """Return a head that was kept.

    Args:
      directory: of the head.
      run: that it is of, if that is not where it was.

    Raises:
      UserError: the folder is no head or is damaged, or the run is another one, or has other weights than the head was
        trained on.
    """
    about = directory / ABOUT
    check(about.is_file(), f"{directory} is no head of mmcl evaluate --keep (it has no {ABOUT}).")
    changed = f"{directory / CHECKSUMS} is missing" if not (directory / CHECKSUMS).is_file() else damage(directory)
    check(changed is None, f"{changed}; {_ANEW}.")
    with reading(about, _ANEW):
        raw = json.loads(about.read_text())
        check(raw["format"] == FORMAT, f"{about} is of format {raw['format']}, which this version does not read.")
        of, score = raw["of"], Score.from_json(raw["score"])
        labels = {str(label): tuple(map(str, texts)) for label, texts in raw["labels"].items()}
        task = TASKS[raw["task"].pop("name")](**_tuples(raw["task"]))
        head = HEADS[raw["head"].pop("name")](**_tuples(raw["head"]))
        reads = tuple(map(str, raw["reads"]))
        tuned = of["protocol"] != "probe"
        if run is None:
            at = (directory / raw["run"]).resolve()
            check(Run.exists(at), f"The run {at} of the head {directory} is not there; say where it is.")
            run = Run.open(at)
        source = Source(of["source"], run if of["step"] is None else run.at(int(of["step"])))
        _check_run(directory, source, raw)
    with reading(directory / ARRAYS, _ANEW), np.load(directory / ARRAYS, allow_pickle=False) as file:
        arrays = dict(file)
        trains = any(name.startswith("encoder/") for name in arrays)
        check(
            trains or source.of()["state"] == of["state"],
            f"The head {directory} was trained on other weights than {run.directory} has now; evaluate it again with "
            "--keep.",
        )
        trained = Trained(
            reads=reads,
            task=task,
            head=head,
            params={name: arrays.pop(f"head/{name}") for name in ("kernel", "bias")},
            units=Units(*(arrays.pop(f"units/{name}") for name in ("shift", "scale"))),
            encoder=_encoder(arrays, source, reads) if trains else None,
            rate=float(raw["rate"]),
            round=int(raw["round"]),
            rounds=int(raw["rounds"]),
            reached=math.nan if raw["reached"] is None else float(raw["reached"]),
        )
        shape = trained.params["kernel"].shape
        if len(shape) != 2 or shape[1] != task.outputs or trained.params["bias"].shape != shape[1:]:
            raise ValueError(f"its weights {shape} are not those of {task.outputs} outputs")
        standard = Standard(arrays.pop("standard/mean"), arrays.pop("standard/scale")) if not tuned else None
        if arrays:
            raise ValueError(f"it holds {next(iter(arrays))!r}, which the head has not")
    return KeptHead(source=source, trained=trained, standard=standard, labels=labels, of=of, score=score)


def _check_run(directory: Path, source: Source, raw: Mapping[str, Any]) -> None:
    """Raise `UserError` unless the run is that of the head."""
    run, name = source.run, raw["of"]["run"]
    mine = f"{run.config.name}, seed {run.config.seed}"
    check(
        run.fingerprint == raw["fingerprint"] and name.startswith(mine),
        f"The head {directory} is of the run {name!r}, and {run.directory} is {mine!r} or has other data; name the run "
        "that it was trained on.",
    )


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a dataclass, with JSON's lists as tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}


def _tree(trained: Trained, standard: Standard | None) -> dict[str, Any]:
    """Return all arrays of a head."""
    tree: dict[str, Any] = {"head": trained.params, "units": dataclasses.asdict(trained.units)}
    if standard is not None:
        tree["standard"] = dataclasses.asdict(standard)
    if trained.encoder is not None:
        tree["encoder"] = {"params": trained.encoder.params, "statistics": trained.encoder.statistics}
    return tree


def _named(tree: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a tree by their paths, such as `encoder/params/image/norm/scale`."""
    return {_path(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _encoder(arrays: dict[str, np.ndarray], source: Source, reads: tuple[str, ...]) -> FeatureEncoder:
    """Take the encoders' arrays out of all arrays.

    Raises:
      ValueError: an array is not as the run's encoders have it.
      KeyError: an array is missing.
    """
    _, module = encoders_of(nnx.eval_shape(source.run.untrained_model), source.run.config, reads)
    params, statistics = split_model(module)

    def taken(path: Any, like: Any) -> np.ndarray:
        found = arrays.pop(_path(path))
        if (found.shape, found.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{_path(path)} is {found.dtype} {found.shape}, not {like.dtype} {like.shape}")
        return found

    tree = {"encoder": {"params": params, "statistics": statistics}}
    found = jax.tree_util.tree_map_with_path(taken, tree)["encoder"]
    return FeatureEncoder(**found, fitted=_fitted(source, reads))


def _fitted(source: Source, reads: tuple[str, ...]) -> dict[str, Any]:
    return {name: dict(source.run.inputs.fitted.get(name, {})) for name in source.inputs_of(reads)}


@functools.lru_cache(maxsize=16)
def _program(encoders: Encoders, dtype: str) -> Callable[..., jax.Array]:
    """Return the compiled encoders; heads of one structure share them."""
    return jax.jit(encoders.plain, compiler_options=compiler_options(jax.local_devices()[0], dtype))
