"""What is evaluated: runs, and the baselines beside them, each with what a protocol needs of it."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.data.inputs import OPTIONS, InputSpec, input_arrays
from mmcl_jax.data.kinds import KINDS
from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model, parse_key
from mmcl_jax.encoders.fusions import inputs_of
from mmcl_jax.errors import check
from mmcl_jax.evaluation.sources.features import What, column_features, frozen_encoder, pixel_features, vector_features
from mmcl_jax.evaluation.sources.labelled import LabelledStore
from mmcl_jax.evaluation.sources.reads import modalities_of
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

_RAW = ("image", "table", "volume", "vector")  # kinds whose stored values are features
BASELINES = ("random", *(KINDS[kind].baseline for kind in _RAW))
_DECIDE = {"raw": (), "random": ("encoders", "projectors", "views", "batch_norm", "dtype")}


class _Kept:
    """The features of those rows of a split that were encoded."""

    def __init__(self, rows: int) -> None:
        self.known = np.zeros(rows, bool)
        self._values: np.ndarray | None = None

    def add(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep the features `[n, ...]` of rows `[n]`."""
        if self._values is None:
            self._values = np.zeros((len(self.known), *values.shape[1:]), values.dtype)
        self._values[rows], self.known[rows] = values, True

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of rows that were added."""
        assert self._values is not None
        return self._values[rows]


@dataclasses.dataclass(frozen=True)
class Source:
    """A run with its trained model ("run"); the same before training ("random"); or the run's raw inputs ("raw").

    `run` says how rows become inputs. The model is loaded when it is needed, and kept as features are.
    """

    kind: str
    run: Run
    _kept: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def model(self) -> Model:
        """The trained or the untrained model.

        Raises:
          UserError: the run has no checkpoint, or its weights are not finite.
        """
        assert self.kind != "raw"
        return self._once("model", self.run.model if self.kind == "run" else self.run.untrained_model)

    def method(self, protocol: str, given: str) -> str:
        """Return the method's name in scores. An untrained model that is fine-tuned is the supervised baseline."""
        modalities = modalities_of(given)
        if self.kind == "raw":
            return " and ".join(dict.fromkeys(str(self.baseline(modality)) for modality in modalities))
        if self.kind == "random":
            return f"supervised {'+'.join(modalities)}" if protocol == "finetune" else "random encoder"
        return self.run.config.name

    def spec(self, modality: str) -> InputSpec:
        """Return what a modality is."""
        return self.run.inputs.including([modality]).specs[modality]

    def baseline(self, modality: str) -> str | None:
        """Return the name of the baseline that is the modality itself; None of a fusion, or if its kind has none."""
        if modality not in self.inputs_of([modality]):
            return None
        kind = self.spec(modality).kind
        return KINDS[kind].baseline if kind in _RAW else None

    def of(self) -> dict[str, Any]:
        """Return what is evaluated: the run, and the `state` of its weights.

        The state of a trained model is its checkpoint, at `step`; that of a baseline, what of the run decides about it.
        """
        return self._once("of", self._of)

    def _of(self) -> dict[str, Any]:
        run = self.run
        on = "" if run.inputs.fold is None else f", fold {run.inputs.fold}"
        step = run.step() if self.kind == "run" else None
        if step is not None:
            state = (run.checkpoints / str(step) / "_CHECKPOINT_METADATA").read_text()  # with the time it was written
        else:
            plain = to_plain(run.config)
            decide = [*_encoded_by(plain["inputs"]), *(plain.get(key) for key in _DECIDE[self.kind])]
            state = json.dumps([run.fingerprint, *decide], sort_keys=True)
        return {
            "source": self.kind,
            "run": f"{run.config.name}, seed {run.config.seed}{on}",
            "step": step,
            "state": hashlib.sha256(state.encode()).hexdigest()[:16],
        }

    def inputs(self, store: Store, split: str, modality: str) -> Any:
        """Return all rows of a split of the run's fold, as the encoder takes them."""
        return self._once(
            f"inputs {split} {modality}",
            lambda: input_arrays(store, split, self.run.inputs.including([modality]), [modality])[modality],
        )

    def inputs_of(self, modalities: Sequence[str]) -> tuple[str, ...]:
        """Return the inputs that the features of these come from: themselves, or what is fused."""
        views = self.run.config.views
        return tuple(dict.fromkeys(name for modality in modalities for name in inputs_of(views, modality)))

    def features(self, data: LabelledStore, modality: str, *, what: What = "pooled") -> Mapping[str, np.ndarray]:
        """Return frozen features `[N, D]`, or maps, of the labelled rows, per split; no row is encoded twice.

        Raises:
          UserError: they are not finite.
        """
        encode = None
        found = {}
        for split in SPLITS:
            rows, count = data.rows[split], len(data.store.rows_of(split, data.fold))
            kept: _Kept = self._once(f"{what} features {split} {modality}", lambda count=count: _Kept(count))
            new = rows[~kept.known[rows]]
            if len(new):
                encode = encode or self.encoder(modality, what)
                every = {name: self.inputs(data.store, split, name) for name in self.inputs_of([modality])}
                part = encode(every if len(new) == count else {name: rows[new] for name, rows in every.items()})
                kept.add(new, self._finite(part, f"features that {{}} gives for the {modality}"))
            found[split] = kept.take(rows)
        return found

    def projections(self, store: Store, split: str, key: str) -> np.ndarray:
        """Return what terms compare, `[N, d]` of all rows of a split: the projections that `MODALITY[:HEAD]` names.

        The head "none" is the features themselves.
        """
        modality, _, head = parse_key(key)
        config, fitted = self.run.config, self.run.inputs.fitted
        what: What = "pooled" if head == "none" else "projected"
        project = frozen_encoder(
            self.model, config=config, modality=modality, what=what, head="" if head == "none" else head, fitted=fitted
        )
        found = project({name: self.inputs(store, split, name) for name in self.inputs_of([modality])})
        return self._finite(found, f"projections that {{}} gives for the {modality}")

    def forget(self) -> None:
        """Let go of the model and the features, so that those of one source are in memory."""
        self._kept.clear()

    def _finite(self, rows: np.ndarray, what: str) -> np.ndarray:
        check(bool(np.isfinite(rows).all()), f"The {what.format(self.run.directory)} are not finite.")
        return rows

    def encoder(self, modality: str, what: What) -> Callable[[Any], np.ndarray]:
        """Return a function from rows of each input (`inputs_of`) to features; of raw inputs these are the values."""
        config = self.run.config
        if self.kind != "raw":
            fitted = self.run.inputs.fitted
            return frozen_encoder(self.model, config=config, modality=modality, what=what, fitted=fitted)
        spec = self.spec(modality)
        if spec.kind in ("image", "volume"):
            return lambda rows: pixel_features(rows[modality], axes=2 if spec.kind == "image" else 3)
        if spec.kind == "vector":
            return lambda rows: vector_features(rows[modality], self.run.inputs.fitted[modality])
        return lambda rows: column_features(rows[modality], spec.widths, missing=spec.missing)

    def _once(self, key: str, compute: Any) -> Any:
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


def _encoded_by(inputs: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    """Return everything that decides how rows become inputs.

    Of one image and one table it is what results of version 0.1 were marked with, so that they are found again.
    """
    table = {**OPTIONS, **inputs.get("table", {})}
    others = {name: chosen for name, chosen in inputs.items() if name not in ("image", "table") or chosen["of"]}
    decide = [table[key] for key in ("columns", "label_as_feature", "missing", "outside")]
    return [*decide, others] if others else decide


def sources(runs: Sequence[Run], baselines: Sequence[str], *, only_baselines: bool = False) -> list[Source]:
    """Return the baselines at every seed and fold that occur and, unless `only_baselines`, the runs; none is loaded."""
    own = -1  # the fold of a run that has none, for sorting
    lending = {
        (run.config.seed, own if run.inputs.fold is None else run.inputs.fold): run
        for run in reversed(runs)  # the first lends its encoder
    }
    every = []
    for _, run in sorted(lending.items()):
        if set(baselines) - {"random"}:
            every.append(Source("raw", run))
        if "random" in baselines:
            every.append(Source("random", run))
    return every + [Source("run", run) for run in runs if not only_baselines]
