"""The representations of runs that are compared: modalities, layers, checkpoints, and the rows that all have."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from mmcl_jax.data.schema import SPLITS
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import parse_key
from mmcl_jax.encoders.fusions import inputs_of, needed_inputs
from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.sources.checks import check_choice, check_rows
from mmcl_jax.evaluation.sources.features import What, frozen_encoder
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.text import called
from mmcl_jax.training.runs.logged import steps_of
from mmcl_jax.training.runs.run import Run

LAYERS = ("pooled", "local", "projection")
_WHAT: dict[str, What] = {"pooled": "pooled", "local": "local", "projection": "projected"}


@dataclasses.dataclass(frozen=True)
class Layer:
    """One representation of the rows of a store.

    Attributes:
      run: with the checkpoint that computes it.
      input: the encoder.
      layer: "pooled", "local" (the mean over the places) or "projection".
      head: of a projection with several heads; "" for the first.
    """

    run: Run
    input: str
    layer: str
    head: str = ""

    @property
    def parts(self) -> dict[str, str]:
        """What tells representations apart, as texts by name."""
        head = f":{self.head}" if self.head else ""
        return {
            "run": called(self.run.directory),
            "input": self.input,
            "layer": f"{self.layer}{head}",
            "step": str(self.run.step()),
        }

    def features(self, store: Store, split: str, rows: np.ndarray) -> np.ndarray:
        """Return the representation `[n, D]` of rows `[n]` of a split, float32.

        Raises:
          UserError: the features are not finite, or the encoder has no such layer.
        """
        source = Source("run", self.run)
        encode = frozen_encoder(
            source.model,
            config=self.run.config,
            modality=self.input,
            what=_WHAT[self.layer],
            head=self.head,
            fitted=self.run.inputs.fitted,
        )
        every = source.rows(store, split, [self.input])
        features = encode({name: values[rows] for name, values in every.items()})
        check(
            bool(np.isfinite(features).all()),
            f"The features that {self.run.directory} gives for the {self.input} are not finite; name another "
            "--checkpoint.",
        )
        return features


def layers_of(runs: Sequence[Run], inputs: Sequence[str], layers: Sequence[str]) -> list[Layer]:
    """Return the representations of all runs, inputs and layers, in this order.

    Args:
      runs: of which several may be checkpoints of one.
      inputs: names of encoders, which every run must have; () for all encoders of each run.
      layers: some of `LAYERS`. A projection stands for every projector of the encoder's pooled features.

    Raises:
      UserError: a name is unknown or named twice, a run lacks an encoder, or an encoder has no projector.
    """
    check_choice("--layer", "layer", layers, LAYERS)
    known = list(dict.fromkeys(name for run in runs for name in run.config.encoders))
    check_choice("--input", "encoder", inputs, known, required=False)
    return [one for run in runs for input in inputs or run.config.encoders for one in _of_input(run, input, layers)]


def _of_input(run: Run, input: str, layers: Sequence[str]) -> Iterator[Layer]:
    check_name(input, list(run.config.encoders), f"--input: {run.directory} has no encoder of", "it has those of")
    for layer in layers:
        if layer != "projection":
            yield Layer(run, input, layer)
            continue
        keys = [parse_key(key) for key in run.config.projectors]
        heads = [head for modality, local, head in keys if modality == input and not local]
        check(
            bool(heads),
            f"--layer projection: {run.directory} has no projector of {input!r}; leave projection or this --input out.",
        )
        for head in heads:
            yield Layer(run, input, layer, head)


def check_comparable(runs: Sequence[Run], store: Store | None) -> Store:
    """Return the store whose rows all runs represent: the given one, or that of all runs.

    Raises:
      UserError: the runs were trained on different stores, of which none is given, or on different folds.
    """
    first = runs[0]
    for run in runs:
        check(
            store is not None or run.fingerprint == first.fingerprint,
            f"--run: {first.directory} and {run.directory} were trained on different stores, so they have no rows in "
            "common; name the store whose rows both are to represent, with --store.",
        )
        check(
            run.inputs.fold == first.inputs.fold,
            f"--run: {first.directory} was trained on {_fold(first)} and {run.directory} on {_fold(run)}, whose rows "
            "differ; compare runs of one fold.",
        )
    return first.store() if store is None else store


def _fold(run: Run) -> str:
    return "the splits of its store" if run.inputs.fold is None else f"the fold {run.inputs.fold}"


def with_checkpoints(runs: Sequence[Run], checkpoints: Sequence[str | int]) -> list[Run]:
    """Return every run at every checkpoint: "latest", "best", a step, or "kept" for all that it keeps, the first first.

    Two checkpoints that are the same step are one.

    Raises:
      UserError: a run has no such checkpoint.
    """
    every = []
    for run in runs:
        asked = [step for one in checkpoints for step in (_kept(run) if one == "kept" else [one])]
        at = [run.at(one) for one in asked] if asked else [run]  # type: ignore[arg-type]
        every += list({one.step(): one for one in at}.values())
    return every


def _kept(run: Run) -> list[int]:
    steps = sorted(steps_of(run.checkpoints))
    check(bool(steps), f"{run.directory} has no checkpoint; train it with mmcl pretrain.")
    return steps


def common_rows(layers: Sequence[Layer], store: Store, split: str, *, most: int, seed: int) -> np.ndarray:
    """Return the rows `[n]` of a split that have everything that the representations need, or `most` drawn ones.

    Raises:
      UserError: the split is unknown, the store has other images or columns than a run, or fewer than two rows have
        everything.
    """
    check_name(split, SPLITS, "--split: there is no split")
    fold = layers[0].run.inputs.fold
    having = np.ones(len(store.rows_of(split, fold)), bool)
    for run, input in {(one.run.directory, one.input): (one.run, one.input) for one in layers}.values():
        for name in inputs_of(run.config.views, input):
            check_rows(run, store, name)
        for name in needed_inputs(run.config.views, input):
            of = run.inputs.including([name]).specs[name].of
            present = store.read(split, [of], fold=fold)[of].present
            having &= True if present is None else present
    rows = np.flatnonzero(having)
    check(
        len(rows) > 1,
        f"--split {split}: {len(rows)} rows of {store.directory} have {', '.join({one.input: 0 for one in layers})} "
        "all at once; compare fewer inputs.",
    )
    random = np.random.default_rng([seed, SPLITS.index(split)])
    return rows if len(rows) <= most else np.sort(random.permutation(rows)[:most])
