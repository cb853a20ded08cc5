"""The method `loss`: integrated gradients of the loss of a row against a fixed reference batch."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from mmcl_jax.data.inputs import input_arrays
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.attributed import explained_columns
from mmcl_jax.explain.base import COLUMN_KINDS, IMAGE_KINDS, METHODS, ExplainOptions, Result, Subject
from mmcl_jax.explain.embedded import EmbeddedInput, padded
from mmcl_jax.explain.integrate import Noise
from mmcl_jax.explain.losses.individuals import with_individuals
from mmcl_jax.explain.losses.objective import objective_of, presence, reading, terms_reading
from mmcl_jax.explain.losses.of_row import LossOfRow
from mmcl_jax.explain.pictures.pixels import explained_pixels
from mmcl_jax.training.mesh import by_example, replicated

STEPS = 50  # of the released explainer, and captum's default
_CHUNK = 128  # rows that are encoded together


def inputs_of_loss(source: Source, input: str, head: KeptHead | None, options: ExplainOptions) -> tuple[str, ...]:
    """Return the inputs that the explained terms read.

    Raises:
      UserError: no term reads the input, or another option of the loss is wrong.
    """
    del head
    check(
        options.reference_split != options.split,
        f"--reference-split: the reference batch must be of another split than the explained rows, {options.split!r}.",
    )
    run, objective = source.run, objective_of(source.run, options)
    names = set(objective.modalities.values()) & set(run.inputs.specs)
    check(
        input in names,
        f"--input {input}: no explained term reads it; the terms read {' and '.join(sorted(names))}.",
    )
    return tuple(sorted(set(reading(objective, input).modalities.values()) & names))


def rows_of_loss(source: Source, store: Store, input: str, options: ExplainOptions) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows `[N]` of the split have what any explained term reads, and what one with this input reads."""
    objective = objective_of(source.run, options)
    present = presence(objective, source.run, store, options.split)
    own = [present[key] for key in terms_reading(objective, input)]
    return np.any(list(present.values()), axis=0), np.any(own, axis=0)


@METHODS.register(
    "loss", takes=(*COLUMN_KINDS, *IMAGE_KINDS), head="refused", reads=inputs_of_loss, has=rows_of_loss, regions=True
)
def loss(subject: Subject, folder: FilePath) -> Result:
    """Explain the loss of each row by integrated gradients (Taleb et al., CVPR 2022, section 3.3).

    The explained number of a row x is the loss of the objective, or of one of its terms, on a fixed reference batch
    with x appended:

        E(x) = L(reference rows, x)

    Every input that the terms read is explained, with all other inputs of x fixed, and attributions keep their sign: a
    negative value lowers the loss. A person who lacks a modality, of the reference or explained, takes no part in its
    terms; a row that takes part in no term of the explained input has no attribution to it, which is not 0. Views are
    plain, and the path starts at zeros of what the encoder reads: the mean of a scaled feature, a black picture.

    The paper's reference batch has 1,000 people. Its released code computes this loss at temperature 1 and weighs both
    directions alike (`--loss released`, the default), and not as in training (`--loss training`); it takes 50 steps,
    and its figures average over the 5 draws of captum's noise (`--noise-samples 5`). It moves all genetic inputs along
    one path with the features of the image fixed; where every term has one genetic input, that gives the same numbers.

    Raises:
      UserError: there is no such term, a term reads what neither the model nor a plain view has, such as a queue, or
        the reference batch is of the explained split.
    """
    explained, title = LossOfRows(subject), "Integrated gradients"
    if subject.spec.kind in IMAGE_KINDS:
        return explained_pixels(subject, explained, folder, title=title)
    return with_individuals(subject, explained_columns(subject, explained, folder, title=title), folder)


class LossOfRows:
    """The loss on the reference batch with a row appended, as a function of the embedded row."""

    outputs = 1

    def __init__(self, subject: Subject) -> None:
        """Load the model, and compute its outputs for the reference batch.

        Raises:
          UserError: a term cannot be explained, or no row of the reference split has what a term reads.
        """
        options, run = subject.options, subject.source.run
        self._subject = subject
        every = objective_of(run, options)
        self._objective = reading(every, subject.input)
        self._inputs = inputs_of_loss(subject.source, subject.input, None, options)
        model = subject.source.model
        self.embedded = EmbeddedInput(subject, model)
        self.of = f"the loss {options.term}" if options.term else "the loss"
        self.steps: int | None = STEPS if options.steps is None else options.steps
        self.noise: Noise | None = Noise(options.noise_samples, options.noise_std) if options.noise_samples else None
        graphdef, state = nnx.split(model)
        self.function = LossOfRow(graphdef, self._objective, run, subject.input, self.embedded.layout)
        fitted = {name: dict(run.inputs.fitted.get(name, {})) for name in self._inputs}
        self.arrays: dict[str, Any] = {"model": state, "fitted": fitted}
        indices, people = self._reference(presence(every, run, subject.store, options.reference_split))
        self.settings: Mapping[str, Any] = {
            "term": options.term,
            "loss": options.loss,
            "temperature": options.temperature,
            "balance": options.balance,
            "reference": len(indices),
            "reference_of_terms": people,
            "reference_split": options.reference_split,
            "noise": None if self.noise is None else dataclasses.asdict(self.noise),
        }
        # Matrices of all pairs, and their gradients; what the encoder of an image keeps for its gradient.
        self.extra = 32 * (len(indices) + 1) ** 2 * len(self._objective.terms)
        if subject.spec.kind in IMAGE_KINDS:
            self.extra += self.embedded.bytes_of_row(model)
        batch = self._batch(options.reference_split)
        parts = []
        for start in range(0, len(indices), _CHUNK):
            chosen = indices[start : start + _CHUNK]
            part = {name: np.asarray(values[padded(chosen, _CHUNK)]) for name, values in batch.items()}
            outputs = self.function.of_batch(self.arrays, part)
            parts.append(jax.tree.map(lambda array: np.asarray(array[: len(chosen)]), outputs))  # noqa: B023
        self.arrays["reference"] = {
            "outputs": jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts),
            "batch": self.function.read_by_loss({name: np.asarray(values[indices]) for name, values in batch.items()}),
        }
        self._rows = self._batch(options.split)

    def _reference(self, present: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, int]]:
        """Return the sorted indices of the reference rows, and how many of them take part in each explained term."""
        options = self._subject.options
        indices = np.flatnonzero(np.any(list(present.values()), axis=0))
        if options.reference < len(indices):
            indices = np.sort(np.random.default_rng(0).choice(indices, options.reference, replace=False))
        people = {self._objective.names[key]: int(present[key][indices].sum()) for key in self._objective.terms}
        for key in terms_reading(self._objective, self._subject.input):
            name = self._objective.names[key]
            check(
                people[name] > 0,
                f"--reference-split: no reference row of the split {options.reference_split!r} has what "
                f"the term {name!r} reads; choose another split, or another term with --term.",
            )
        return indices, people

    def _batch(self, split: str) -> dict[str, Any]:
        """Return the arrays of a split that the terms read."""
        subject = self._subject
        return input_arrays(
            subject.store, split, subject.source.run.inputs, self._inputs, targets=self._objective.targets
        )

    def context(self, indices: np.ndarray, mesh: Mesh) -> Any:
        """Return the rows of a batch, and the features of the other inputs."""
        batch = {name: np.asarray(values[indices]) for name, values in self._rows.items()}
        self.arrays = jax.device_put(self.arrays, replicated(mesh))
        batch = jax.device_put(batch, by_example(mesh))
        return {"batch": batch, "features": self.function.other_features(self.arrays, batch)}
