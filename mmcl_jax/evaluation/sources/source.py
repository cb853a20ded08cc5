"""The sources of features: runs, and the baselines beside them."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from mmcl_jax.border import to_json
from mmcl_jax.border.checksum import digest
from mmcl_jax.data.inputs import OPTIONS, InputSpec, input_arrays
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model, parse_key
from mmcl_jax.encoders.fusions import inputs_of, needed_inputs
from mmcl_jax.errors import check
from mmcl_jax.evaluation.heads.encoded import IDS, PRESENT, image_axes, is_drawn, plain_spec, plain_values
from mmcl_jax.evaluation.sources.blocks import BLOCK
from mmcl_jax.evaluation.sources.features import What, column_features, frozen_encoder, pixel_features, vector_features
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.missingness import hidden_in
from mmcl_jax.evaluation.sources.reads import from_scratch, modalities_of
from mmcl_jax.files import reading
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

_RAW = ("image", "table", "volume", "vector")  # kinds whose stored values are features
BASELINES = ("random", *(KINDS[kind].baseline for kind in _RAW))
_STATE_KEYS = {"raw": (), "random": ("encoders", "projectors", "views", "batch_norm", "dtype")}


class _Encoded:
    """The features of the rows of a split that were encoded so far."""

    def __init__(self, rows: int) -> None:
        self.done = np.zeros(rows, bool)
        self._values: np.ndarray | None = None

    def add(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Store the features `[n, ...]` of rows `[n]`."""
        if self._values is None:
            self._values = np.zeros((len(self.done), *values.shape[1:]), values.dtype)
        self._values[rows], self.done[rows] = values, True

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of rows that were added."""
        assert self._values is not None
        return self._values[rows]


@dataclasses.dataclass(frozen=True)
class Source:
    """A run with its trained model ("run"); the same before training ("random"); or the run's raw inputs ("raw").

    The `run` decides how rows are turned into inputs. Models and features are computed on first use, and cached until
    `forget`.
    """

    kind: str
    run: Run
    _cache: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The trained or the untrained model.

        Raises:
          UserError: the run has no checkpoint, or its weights are not finite.
        """
        assert self.kind != "raw"
        return self._once("model", self.run.model if self.kind == "run" else self.run.untrained_model)

    def method(self, protocol: str, input: str) -> str:
        """Return the name of the method in scores; an untrained model that is fine-tuned is the supervised baseline."""
        modalities = modalities_of(input)
        if self.kind == "raw":
            return " and ".join(dict.fromkeys(str(self.baseline(modality)) for modality in modalities))
        if self.kind == "random":
            return from_scratch(input) if protocol == "finetune" else "random encoder"
        return self.run.config.name

    def encoder_of(self, input: str) -> str:
        """Return a hash of the encoders of an input, and of what they read: runs with the same differ by weights."""
        config, modalities = to_plain(self.run.config), modalities_of(input)
        config["inputs"] = _as_before(config["inputs"])
        names = dict.fromkeys([*modalities, *self.inputs_of(modalities)])
        parts = [
            {name: config[part][name] for name in names if name in config[part]} for part in ("encoders", "inputs")
        ]
        state = [self.run.fingerprint, *parts, config["batch_norm"], config["dtype"]]
        return digest(state)[:16]

    def spec(self, modality: str) -> InputSpec:
        """Return the input specification of a modality."""
        return self.run.inputs.including([modality]).specs[modality]

    @property
    def columns(self) -> dict[str, set[str]]:
        """The names of the columns that the run reads, by table of the store."""
        names: dict[str, set[str]] = {}
        for input, table in self.run.inputs.tables.items():
            of = names.setdefault(self.run.inputs.specs[input].of, set())
            of.update(column.name for column in table.schema.columns)
        return names

    def baseline(self, modality: str) -> str | None:
        """Return the name of the baseline of raw rows of a modality; None for a fusion, or a kind without baseline."""
        if modality not in self.inputs_of([modality]):
            return None
        kind = self.spec(modality).kind
        return KINDS[kind].baseline if kind in _RAW else None

    def of(self) -> dict[str, Any]:
        """Return the identity of the source in results files: the run, and the `state` of its weights.

        The state of a trained model is a hash of its checkpoint at `step`; the state of a baseline is a hash of the
        config keys that it depends on.
        """
        return self._once("of", self._of)

    def _of(self) -> dict[str, Any]:
        run = self.run
        on = "" if run.inputs.fold is None else f", fold {run.inputs.fold}"
        step = run.step() if self.kind == "run" else None
        if step is not None:
            path = run.checkpoints / str(step) / "_CHECKPOINT_METADATA"
            with reading(path, "put a copy of it back"):
                state = path.read_text()  # with the time it was written
        else:
            plain = to_plain(run.config)
            values = [*_input_keys(plain["inputs"]), *(plain.get(key) for key in _STATE_KEYS[self.kind])]
            state = to_json([run.fingerprint, *values], sort_keys=True)
        return {
            "source": self.kind,
            "run": f"{run.config.name}, seed {run.config.seed}{on}",
            "step": step,
            "state": hashlib.sha256(state.encode()).hexdigest()[:16],
        }

    def inputs(self, store: Store, split: str, modality: str) -> Any:
        """Return all rows of a split of the run's fold in the form that the encoder reads."""

        def read() -> Any:
            return input_arrays(store, split, self.run.inputs.including([modality]), [modality])[modality]

        hidden = hidden_in(store) if self.spec(modality).kind == "table" else ""
        if not hidden:
            return self._once(f"inputs {split} {modality}", read)
        key = f"hidden inputs {split} {modality}"  # only those of the last share, since an evaluation may have many
        if key not in self._cache or self._cache[key][0] != hidden:
            self._cache[key] = hidden, read()
        return self._cache[key][1]

    def rows(self, store: Store, split: str, modalities: Sequence[str]) -> dict[str, Any]:
        """Return all rows of a split, by input, that the features of these modalities are computed from.

        With the rows of an input that a fusion can do without goes `present/NAME`, which rows have it; and with those
        of a view whose draws are part of the data goes their `id`.
        """
        rows = {name: self.inputs(store, split, name) for name in self.inputs_of(modalities)}
        for name in self.spare_inputs(modalities):
            of = self.spec(name).of
            entry = store.read(split, [of], fold=self.run.inputs.fold)[of]
            rows[PRESENT + name] = np.ones(len(entry), bool) if entry.present is None else entry.present
        viewed = {view.modality for view in self.run.config.views.values()}
        if is_drawn([plain_spec(self.run.config, name) for name in modalities if name in viewed]):
            rows[IDS] = self.ids(store, split)
        return rows

    def ids(self, store: Store, split: str) -> np.ndarray:
        """Return the ids `[N]` of all rows of a split of the run's fold, uint32."""
        fold = self.run.inputs.fold
        ids: np.ndarray = self._once(f"ids {split}", lambda: store.lists.id[store.rows_of(split, fold)])
        return ids.astype(np.uint32)

    def spare_inputs(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Return the inputs of these modalities that a row may lack, whose tokens a fusion masks (see `fused`)."""
        views = self.run.config.views
        needed = {name for modality in modalities for name in needed_inputs(views, modality)}
        return tuple(name for name in self.inputs_of(modalities) if name not in needed)

    def inputs_of(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Return the inputs that the features of these modalities are computed from; a fusion has several."""
        views = self.run.config.views
        return tuple(dict.fromkeys(name for modality in modalities for name in inputs_of(views, modality)))

    def tables(self, *modalities: str) -> list[str]:
        """Return the tables of the store that the features of these modalities are computed from."""
        specs = [self.spec(name) for name in self.inputs_of(modalities)]
        return list(dict.fromkeys(spec.of for spec in specs if spec.kind == "table"))

    def features(self, data: LabelledStore, modality: str, *, what: What = "pooled") -> Mapping[str, np.ndarray]:
        """Return frozen features `[N, D]`, or maps, of the labelled rows, per split; no row is encoded twice.

        Raises:
          UserError: they are not finite.
        """
        encode = None
        by_split = {}
        for split in SPLITS:
            rows, count = data.rows[split], len(data.store.rows_of(split, data.fold))
            hidden = hidden_in(data.store) if self.tables(modality) else ""
            key = f"{what} features {split} {modality} {hidden}"
            done: _Encoded = self._once(key, lambda count=count: _Encoded(count))
            new = rows[~done.done[rows]]
            if len(new):
                encode = encode or self.encoder(modality, what)
                every = self.rows(data.store, split, [modality])
                part = encode(every if len(new) == count else {name: rows[new] for name, rows in every.items()})
                done.add(new, self._finite(part, f"features that {{}} gives for the {modality}"))
            by_split[split] = done.take(rows)
        return by_split

    def of_split(self, store: Store, split: str, modality: str) -> tuple[np.ndarray, np.ndarray]:
        """Return frozen features `[N, D]` of all rows of a split, and which rows have what they are computed from.

        Features of the other rows mean nothing.

        Raises:
          UserError: features are not finite.
        """

        def encode() -> tuple[np.ndarray, np.ndarray]:
            spare = self.spare_inputs([modality])
            needed = [self.spec(name).of for name in self.inputs_of([modality]) if name not in spare]
            entries = store.read(split, list(dict.fromkeys(needed)), fold=self.run.inputs.fold)
            every = np.ones(len(store.rows_of(split, self.run.inputs.fold)), bool)
            having = np.all([every, *(e.present for e in entries.values() if e.present is not None)], axis=0)
            features = self.encoder(modality, "pooled")(self.rows(store, split, [modality]))
            self._finite(features[having], f"features that {{}} gives for the {modality}")
            return features, having

        return self._once(f"features of {split} {modality}", encode)

    def projections(self, store: Store, split: str, key: str) -> np.ndarray:
        """Return the projections `[N, d]` of all rows of a split by the projector `MODALITY[:HEAD]`.

        The head "none" is no projector: it returns the features.
        """
        modality, _, head = parse_key(key)
        config, fitted = self.run.config, self.run.inputs.fitted
        what: What = "pooled" if head == "none" else "projected"
        project = frozen_encoder(
            self.model, config=config, modality=modality, what=what, head="" if head == "none" else head, fitted=fitted
        )
        projections = project(self.rows(store, split, [modality]))
        return self._finite(projections, f"projections that {{}} gives for the {modality}")

    def forget(self) -> None:
        """Drop the model and the features, so that only one source is in memory at a time."""
        self._cache.clear()

    def _finite(self, rows: np.ndarray, what: str) -> np.ndarray:
        check(
            bool(np.isfinite(rows).all()),
            f"The {what.format(self.run.directory)} are not finite; evaluate an earlier step with --checkpoint.",
        )
        return rows

    def encoder(self, modality: str, what: What) -> Callable[[Any], np.ndarray]:
        """Return a function from rows of each input (`inputs_of`) to features; for raw inputs, to their values."""
        config = self.run.config
        if self.kind != "raw":
            fitted = self.run.inputs.fitted
            return frozen_encoder(self.model, config=config, modality=modality, what=what, fitted=fitted)
        spec = self.spec(modality)
        if spec.kind in ("image", "volume"):
            return lambda rows: pixel_features(self._seen(rows, modality), axes=2 if spec.kind == "image" else 3)
        if spec.kind == "vector":
            return lambda rows: vector_features(rows[modality], self.run.inputs.fitted[modality])
        return lambda rows: column_features(rows[modality], spec.widths, missing=spec.missing)

    def _seen(self, rows: Mapping[str, Any], modality: str) -> Any:
        """Return the images of rows, from 0 to 255: as stored, or as a view leaves them that draws part of the data."""
        if IDS not in rows:
            return rows[modality]
        spec, stored = plain_spec(self.run.config, modality), rows[modality]
        single = stored.shape[-(image_axes(spec) - 1) :]
        parts = []
        for start in range(0, len(stored), BLOCK):
            part = np.asarray(stored[start : start + BLOCK])
            ids = np.repeat(rows[IDS][start : start + BLOCK], part.size // len(part) // int(np.prod(single)))
            flat = {modality: jnp.asarray(part.reshape(-1, *single)), IDS: jnp.asarray(ids)}
            seen = plain_values((spec,), flat, {})[spec]
            parts.append(255 * np.asarray(seen).reshape(*part.shape[: part.ndim - len(single)], *seen.shape[1:]))
        return np.concatenate(parts)

    def _once(self, key: str, compute: Any) -> Any:
        if key not in self._cache:
            self._cache[key] = compute()
        return self._cache[key]


def _as_before(inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the inputs without the option that earlier results do not know, if it has their value."""
    return {
        name: {key: value for key, value in of.items() if (key, value) != ("scale", "std")}
        for name, of in inputs.items()
    }


def _input_keys(inputs: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return the values of the config that decide how rows are turned into inputs.

    For one image and one table they are the values of version 0.1, so that its results keep their identity.
    """
    table = {**OPTIONS, **inputs.get("table", {})}
    others = {
        name: chosen for name, chosen in _as_before(inputs).items() if name not in ("image", "table") or chosen["of"]
    }
    values = [table[key] for key in ("columns", "label_as_feature", "missing", "outside")]
    return [*values, others] if others else values


def sources(runs: Sequence[Run], baselines: Sequence[str], *, only_baselines: bool = False) -> list[Source]:
    """Return the baselines at every seed and fold of the runs and, unless `only_baselines`, the runs; load no model."""
    no_fold = -1  # for sorting
    lending = {
        (run.config.seed, no_fold if run.inputs.fold is None else run.inputs.fold): run
        for run in reversed(runs)  # the first run of a seed and fold lends its encoder
    }
    every = []
    for _, run in sorted(lending.items()):
        if set(baselines) - {"random"}:
            every.append(Source("raw", run))
        if "random" in baselines:
            every.append(Source("random", run))
    return every + [Source("run", run) for run in runs if not only_baselines]
