"""The heads that `mmcl evaluate --keep` saves, and their predictions.

A head is a folder:

head.json        its inputs, its task, its run, and its score
arrays.npz       its weights, the moments that standardise features and targets, and the encoders if they were trained
checksums.json   size and SHA-256 of both
"""

import dataclasses
import functools
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmcl_jax import __version__
from mmcl_jax.border import AtLeast, Open, Real, as_type, read_written, to_json
from mmcl_jax.bucket.address import is_address
from mmcl_jax.bucket.border import local
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import Encoders, FeatureEncoder, beside
from mmcl_jax.evaluation.heads.engine import Trained
from mmcl_jax.evaluation.heads.linear import LinearHead
from mmcl_jax.evaluation.heads.standard import Standard
from mmcl_jax.evaluation.heads.yolo import YoloHead
from mmcl_jax.evaluation.protocols.finetune import most_images
from mmcl_jax.evaluation.protocols.made import DENSE, dense_encoders_of, encoders_of
from mmcl_jax.evaluation.results.file import OfSource, identity
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.sources.blocks import BLOCK, block_mesh, blockwise, in_blocks, padded
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.files import CHECKSUMS, atomic, damage, reading, write_checksums
from mmcl_jax.tasks import TASKS, Task, Units
from mmcl_jax.text import called
from mmcl_jax.training.mesh import replicated
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.train_state import split_model
from mmcl_jax.versions import versions

FORMAT = 1
FOLDER, ABOUT, ARRAYS = "heads", "head.json", "arrays.npz"
HEADS: dict[str, type[LinearHead]] = {"linear": LinearHead, **{name: head for name, (head, _) in DENSE.items()}}
_ANEW = "put a copy of it back, or keep the head again with mmcl evaluate --keep"
_LONGEST = 120  # characters of a folder's name before the hash
MASK_BLOCK = 16  # rows whose masks are predicted at once by a device
_Count = Annotated[int, AtLeast(0)]


class About(TypedDict):
    """The content of `head.json`."""

    format: int
    run: str
    fingerprint: str
    reads: tuple[str, ...]
    task: dict[str, Any]
    labels: dict[str, tuple[str, ...]]
    head: dict[str, Any]
    rate: Real
    round: _Count
    rounds: _Count
    reached: Real | None
    of: dict[str, Any]
    score: dict[str, Any]


class _OfHead(OfSource):
    source: Literal["run", "random", "raw"]  # type: ignore[misc]
    protocol: str
    step: _Count | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeadOfSource:
    """A trained head with everything that its predictions need.

    Attributes:
      source: the run or the baseline that reads the inputs and encodes them.
      trained: the head, and the encoders if they were trained with it.
      standard: the standardisation of the features; None for a head on features that are not standardised.
    """

    source: Source
    trained: Trained
    standard: Standard | None

    def outputs(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Return the predictions of the head: logits, or numbers in units of the label.

        Args:
          rows: by input, rows in the form that the encoders read (`Source.rows`; tables are encoded).

        Returns:
          `[N, outputs]`; for a mask `[N, H, W, classes]`; for boxes the logits of cells, of which `trained.task.found`
          makes boxes in pixels of the stored image.

        Raises:
          UserError: an input is missing, or the run's weights are not finite.
        """
        inputs = self.source.inputs_of(self.trained.reads)
        for name in inputs:
            check(name in rows, f"The head reads {' and '.join(inputs)}; pass rows of {name!r} too.")

        def taken(names: tuple[str, ...]) -> dict[str, Any]:
            return {name: rows[name] for name in names} | beside(rows, names)

        if self.standard is None and self.trained.head.name in DENSE:
            return self._decoded(taken(inputs))
        if self.standard is None:
            return self.of_features(self._encoded(taken(inputs)))
        features = []
        for modality in self.trained.reads:
            encode = self.source.encoder(modality, self.trained.head.reads)
            features.append(encode(taken(self.source.inputs_of([modality]))))
        return self.of_features(np.concatenate(features, axis=-1))

    def of_features(self, features: np.ndarray) -> np.ndarray:
        """Return the predictions of a head on features `[N, ..., D]`, side by side, of what it reads.

        They are computed in blocks of one size, so that a row's prediction does not depend on the other rows.
        """
        standardise = (lambda rows: rows) if self.standard is None else self.standard.apply
        starts = range(0, len(features), BLOCK)
        blocks = (padded(standardise(features[start : start + BLOCK]), BLOCK) for start in starts)
        return np.concatenate([self.trained.outputs(block) for block in blocks])[: len(features)]

    def _encoded(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Return pooled features `[N, D]` by the encoders that were trained with the head, or by those of the run."""
        encoders, mesh, encode = self._encoders
        return in_blocks(encode, rows, mesh, block=max(1, BLOCK // most_images(rows, encoders)))

    def _decoded(self, rows: Mapping[str, Any]) -> np.ndarray:
        """Return the outputs `[N, ..., outputs]` of a dense head by the encoder and decoder that were kept with it."""
        assert self.trained.encoder is not None
        encoders, _ = _trained_encoders(self.source, self.trained.reads, self.trained.head)
        mesh = block_mesh()
        program = _mask_program(encoders, self.trained.head, self.source.run.config.dtype, mesh)
        arrays = jax.device_put((self.trained.encoder, self.trained.params), replicated(mesh))
        return in_blocks(functools.partial(program, arrays), rows, mesh, block=MASK_BLOCK)

    @functools.cached_property
    def _encoders(self) -> tuple[Encoders, Mesh, Callable[[dict[str, jax.Array]], jax.Array]]:
        run, reads, encoder = self.source.run, self.trained.reads, self.trained.encoder
        model = self.source.model if encoder is None else nnx.eval_shape(run.untrained_model)
        encoders, module = encoders_of(model, run.config, reads)
        if encoder is None:
            params, statistics = split_model(module)
            encoder = FeatureEncoder(params=params, statistics=statistics, fitted=_fitted(self.source, reads))
        mesh = block_mesh()
        program = _program(encoders, run.config.dtype, mesh)
        return encoders, mesh, functools.partial(program, jax.device_put(encoder, replicated(mesh)))


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptHead(HeadOfSource):
    """A saved head.

    Attributes:
      labels: the texts of the classes of each label; () for a number.
      of: the identity of the evaluation in the results file.
      score: of the head on test.
    """

    labels: Mapping[str, tuple[str, ...]]
    of: Mapping[str, Any]
    score: Score

    def write(self, folder: Path) -> Path:
        """Write the head atomically into a new folder in `folder`, and return its path."""
        path = folder / name_of(self.of, self.score.draw)
        relative = os.path.relpath(self.source.run.directory, path) if folder == heads_of(self.source.run) else None
        about = {
            "format": FORMAT,
            "mmcl_jax": __version__,
            "versions": versions(),
            "run": relative or called(self.source.run.directory.absolute()),
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
            (partial / ABOUT).write_text(to_json(about, indent=2) + "\n")
            np.savez(partial / ARRAYS, **_named(_tree(self.trained, self.standard)))  # type: ignore[arg-type]
            write_checksums(partial, [partial / ABOUT, partial / ARRAYS])
        return path


def heads_of(run: Run, keep: bool | Path = True) -> Path:
    """Return the folder of the heads of a run: `heads` in the run, or the folder that `--keep` names."""
    return run.directory / FOLDER if isinstance(keep, bool) else keep


def name_of(of: Mapping[str, Any], draw: int) -> str:
    """Return the name of the folder of a head: the evaluation in words, and a hash of its identity."""
    parts = (of["run"], of["method"], of["protocol"], of["input"], of["label"], of["budget"], draw)
    words = "-".join(re.sub(r"[^A-Za-z0-9]+", "_", str(part)).strip("_") for part in parts)
    return f"{words[:_LONGEST]}-{identity(of, draw)[:8]}"


def is_kept(folder: Path, of: Mapping[str, Any], draw: int) -> bool:
    """Return whether `folder` has the head, undamaged."""
    path = folder / name_of(of, draw)
    return (path / CHECKSUMS).is_file() and damage(path) is None


def load_head(directory: Path, run: Run | None = None) -> KeptHead:
    """Return a saved head.

    Args:
      directory: of the head.
      run: of the head; needed only if the run was moved.

    Raises:
      UserError: the folder is no head or is damaged, or `run` is another run, or has other weights than those that the
        head was trained on.
    """
    about = directory / ABOUT
    check(about.is_file(), f"{directory} is no head of mmcl evaluate --keep (it has no {ABOUT}).")
    changed = f"{directory / CHECKSUMS} is missing" if not (directory / CHECKSUMS).is_file() else damage(directory)
    check(changed is None, f"{changed}; {_ANEW}.")
    raw = read_about(directory)
    with reading(about, _ANEW):
        of: _OfHead = as_type(Annotated[_OfHead, Open], raw["of"], "of")
        score = Score.from_json(raw["score"])
        task: Task = _part(TASKS, raw["task"], "task")
        head: LinearHead = _part(HEADS, raw["head"], "head")
        reads = raw["reads"]
        tuned = of["protocol"] != "probe" or isinstance(head, YoloHead)
        if run is None:
            path = local(raw["run"]) if is_address(raw["run"]) else (directory / raw["run"]).resolve()
            check(Run.exists(path), f"The run {path} of the head {directory} is missing; pass the run to load_head.")
            run = Run.open(path)
        source = Source(of["source"], run if of["step"] is None else run.at(of["step"]))
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
            encoder=_encoder(arrays, source, reads, head) if trains else None,
            rate=raw["rate"],
            round=raw["round"],
            rounds=raw["rounds"],
            reached=math.nan if raw["reached"] is None else raw["reached"],
        )
        shape = trained.params["kernel"].shape
        if len(shape) != 2 or shape[1] != task.outputs or trained.params["bias"].shape != head.bias_shape(task.outputs):
            raise ValueError(f"its weights {shape} are not those of {task.outputs} outputs")
        standard = Standard(arrays.pop("standard/mean"), arrays.pop("standard/scale")) if not tuned else None
        if arrays:
            raise ValueError(f"it holds {next(iter(arrays))!r}, which is no array of the head")
    return KeptHead(source=source, trained=trained, standard=standard, labels=raw["labels"], of=raw["of"], score=score)


def read_about(directory: Path) -> About:
    """Return the description of a saved head.

    Raises:
      UserError: it is missing, damaged, or of another format.
    """
    path = directory / ABOUT
    raw: Mapping[str, Any] = read_written(path, dict[str, Any], _ANEW)
    form = raw.get("format")
    check(type(form) is not int or form == FORMAT, f"{path} is of format {form}, which this version does not read.")
    with reading(path, _ANEW):
        return as_type(Annotated[About, Open], raw)


def _part(kinds: Mapping[str, type], raw: Mapping[str, Any], what: str) -> Any:
    """Return the task or the head that `name` and options describe; raise `ValueError` for another description."""
    options = {key: value for key, value in raw.items() if key != "name"}
    return as_type(kinds[as_type(Literal[*kinds], raw.get("name"), f"{what}.name")], options, what)


def _check_run(directory: Path, source: Source, raw: About) -> None:
    """Raise `UserError` unless the run of the source is the run of the head."""
    run, name = source.run, raw["of"]["run"]
    own_name = f"{run.config.name}, seed {run.config.seed}"
    check(
        run.fingerprint == raw["fingerprint"] and name.startswith(own_name),
        f"The head {directory} is of the run {name!r}, and {run.directory} is {own_name!r} or has other data; pass the "
        "run that the head was trained on.",
    )


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


def _trained_encoders(source: Source, reads: tuple[str, ...], head: LinearHead) -> tuple[Encoders, nnx.Dict]:
    """Return the encoders and a dense head's decoder, whose arrays are kept with a head; the module has no values."""
    run = source.run
    model = nnx.eval_shape(run.untrained_model)
    if head.name not in DENSE:
        return encoders_of(model, run.config, reads)
    (modality,) = reads
    shape = run.inputs.specs[modality].shape[-3:]  # of one image: rows of the run's own store may have several
    made: list[Encoders] = []

    def module() -> nnx.Dict:
        encoders, module = dense_encoders_of(
            head.name, run.untrained_model(), run.config, modality, shape, rngs=nnx.Rngs(0)
        )
        made.append(encoders)
        return module

    abstract = nnx.eval_shape(module)
    return made[0], abstract


def _encoder(arrays: dict[str, np.ndarray], source: Source, reads: tuple[str, ...], head: LinearHead) -> FeatureEncoder:
    """Remove the arrays of the encoders from `arrays` and return them.

    Raises:
      ValueError: an array has another shape or dtype than in the encoders of the run.
      KeyError: an array is missing.
    """
    _, module = _trained_encoders(source, reads, head)
    params, statistics = split_model(module)

    def taken(path: Any, like: Any) -> np.ndarray:
        array = arrays.pop(_path(path))
        if (array.shape, array.dtype) != (like.shape, like.dtype):
            raise ValueError(f"{_path(path)} is {array.dtype} {array.shape}, not {like.dtype} {like.shape}")
        return array

    tree = {"encoder": {"params": params, "statistics": statistics}}
    encoder = jax.tree_util.tree_map_with_path(taken, tree)["encoder"]
    return FeatureEncoder(**encoder, fitted=_fitted(source, reads))


def _fitted(source: Source, reads: tuple[str, ...]) -> dict[str, Any]:
    return {name: dict(source.run.inputs.fitted.get(name, {})) for name in source.inputs_of(reads)}


@functools.lru_cache(maxsize=16)
def _program(encoders: Encoders, dtype: str, mesh: Mesh) -> Callable[..., jax.Array]:
    """Return the compiled encoders; heads of the same structure share them."""
    return blockwise(encoders.plain, mesh, dtype)


@functools.lru_cache(maxsize=16)
def _mask_program(encoders: Encoders, head: LinearHead, dtype: str, mesh: Mesh) -> Callable[..., jax.Array]:
    """Return the compiled outputs of a dense head, whose features fit no memory, as a function of its arrays."""

    def outputs(arrays: tuple[FeatureEncoder, Any], rows: dict[str, jax.Array]) -> jax.Array:
        encoder, params = arrays
        return head(params, encoders.plain(encoder, rows))

    return blockwise(outputs, mesh, dtype)
