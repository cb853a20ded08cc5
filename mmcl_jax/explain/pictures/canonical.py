"""The method `canonical`: where the directions lie that two modalities share most."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from mmcl_jax.errors import check, check_name
from mmcl_jax.evaluation.protocols.kept import KeptHead
from mmcl_jax.evaluation.sources.source import Source
from mmcl_jax.explain.base import IMAGE_KINDS, METHODS, ExplainOptions, Result, Subject
from mmcl_jax.explain.integrate import Noise, RowFunction
from mmcl_jax.explain.outputs import Outputs
from mmcl_jax.explain.pictures.saliency import explained_gradients
from mmcl_jax.page.wording import counted

RIDGE = 1e-3  # of the mean variance, added to the variances: small directions of noise do not count


def partner_of(source: Source, input: str, options: ExplainOptions) -> str:
    """Return the input whose embedding an input is compared with.

    Raises:
      UserError: there is no such input, none, or several and none was chosen.
    """
    others = [name for name in source.run.config.encoders if name != input and name in source.run.inputs.specs]
    check(len(others) > 0, "--method canonical: it compares two inputs, and this run has one; use saliency.")
    if options.partner is not None:
        check(
            options.partner != input,
            f"--partner {input}: it is the explained input; choose another, or another input with --input.",
        )
        check_name(options.partner, others, "--partner: there is no input")
        return options.partner
    check(len(others) == 1, f"--partner: {input} has several partners, {', '.join(others)}; choose one.")
    return others[0]


def inputs_of_canonical(source: Source, input: str, head: KeptHead | None, options: ExplainOptions) -> tuple[str, ...]:
    """Return the two inputs that a row must have."""
    del head
    return input, partner_of(source, input, options)


@METHODS.register("canonical", takes=IMAGE_KINDS, head="refused", reads=inputs_of_canonical, regions=True)
def canonical(subject: Subject, folder: FilePath) -> Result:
    """Explain the directions of an embedding that correlate most with the embedding of another input.

    Canonical correlation analysis of the two embeddings is fitted on the training rows that have both inputs. Each of
    the first `--directions` directions is a linear function of the embedding, with a variance of 1 over those rows; its
    gradient by the pixels is averaged over the explained rows as in `saliency`. `explanation.json` has the canonical
    correlations on the training rows, and those of the same directions on the explained rows, which are lower where
    the fit is of chance.

    Raises:
      UserError: the run has no second input, or fewer training rows than an embedding has dimensions.
    """
    partner = partner_of(subject.source, subject.input, subject.options)
    fit = _pairs(subject, "train", partner)
    size = max(one.shape[1] for one in fit)
    check(
        len(fit[0]) > size,
        f"--method canonical: {counted(len(fit[0]), 'training row')} with {subject.input} and {partner} cannot give "
        f"canonical directions of {size} dimensions; it takes more rows than dimensions.",
    )
    count = subject.options.directions
    least = min(one.shape[1] for one in fit)
    check(count <= least, f"--directions: the embeddings have {least} directions in common; give {least} or fewer.")
    own, other, on_fit = canonical_directions(*fit, count=count)
    found = _pairs(subject, subject.options.split, partner, subject.rows)
    held = [
        float(np.corrcoef(found[0] @ first, found[1] @ second)[0, 1]) if len(found[0]) > 2 else float("nan")
        for first, second in zip(own.T, other.T, strict=True)
    ]
    of = f"the {counted(count, 'canonical direction')} of {subject.input} and {partner}"
    explained = Directed(Outputs(subject), own.T, of)
    names = [f"direction {index + 1}" for index in range(count)]
    result = explained_gradients(subject, explained, names, folder, title=f"Saliency of {of}")
    numbers = ", ".join(
        f"{name} {first:.2f} ({second:.2f})" for name, first, second in zip(names, on_fit, held, strict=True)
    )
    details = {
        "partner": partner,
        "directions": own.T.tolist(),
        "correlations": on_fit.tolist(),
        "correlations_explained": held,
        "training_rows": len(fit[0]),
    }
    notes = [
        f"Canonical correlations on {counted(len(fit[0]), 'training row')}, and in brackets those of the same "
        f"directions on {counted(len(subject.rows), 'explained row')}: {numbers}.",
        *result.notes,
    ]
    return dataclasses.replace(result, details={**result.details, **details}, notes=notes)


def canonical_directions(
    first: Float[np.ndarray, "N D"], second: Float[np.ndarray, "N E"], *, count: int, ridge: float = RIDGE
) -> tuple[Float[np.ndarray, "D k"], Float[np.ndarray, "E k"], Float[np.ndarray, "k"]]:
    """Return the first canonical directions of two sets of features, in float64, and their correlations.

    A direction has a variance of 1 over the rows (but for the ridge), and its largest weight is positive.

    Args:
      first: features of N rows.
      second: other features of the same rows.
      count: number of directions.
      ridge: share of the mean variance that is added to the variances of each set.

    Example:
      >>> rows = np.random.default_rng(0).normal(size=(50, 3))
      >>> own, other, correlations = canonical_directions(rows, rows[:, ::-1] * 2, count=1, ridge=0.0)
      >>> round(float(correlations[0]), 6)
      1.0
    """
    centred = [np.asarray(one, np.float64) - np.asarray(one, np.float64).mean(axis=0) for one in (first, second)]
    whitening = []
    for one in centred:
        covariance = one.T @ one / (len(one) - 1)
        level = np.trace(covariance) / len(covariance)
        values, vectors = np.linalg.eigh(covariance + ridge * level * np.eye(len(covariance)))
        kept = values > 1e-10 * max(float(values.max()), 1e-300)
        roots = np.where(kept, 1 / np.sqrt(np.where(kept, values, 1)), 0)
        whitening.append((vectors * roots) @ vectors.T)
    shared = whitening[0] @ (centred[0].T @ centred[1] / (len(centred[0]) - 1)) @ whitening[1]
    left, _, right = np.linalg.svd(shared)
    own, other = whitening[0] @ left[:, :count], whitening[1] @ right[:count].T
    signs = np.sign(own[np.abs(own).argmax(axis=0), np.arange(count)])
    own, other = own * signs, other * signs
    pairs = zip((centred[0] @ own).T, (centred[1] @ other).T, strict=True)
    return own, other, np.array([np.corrcoef(*pair)[0, 1] for pair in pairs])


@dataclasses.dataclass(frozen=True)
class DirectionsOfRow:
    """Linear functions of the outputs of a function of one row; `arrays["directions"]` has their weights `[k, K]`."""

    function: RowFunction

    def __call__(self, arrays: Any, row: Float[Array, "E"], context: Any) -> Float[Array, "k"]:
        """Return their values."""
        return jnp.dot(arrays["directions"], self.function(arrays, row, context), precision="highest")


class Directed:
    """Directions in the space of an embedding, as a function of the embedded rows of its input."""

    noise: Noise | None = None

    def __init__(self, outputs: Outputs, directions: Float[np.ndarray, "k D"], of: str) -> None:
        """Take the rows and the model of `outputs`, which is an embedding."""
        self._outputs, self.embedded, self.of = outputs, outputs.embedded, of
        self.function: RowFunction = DirectionsOfRow(outputs.function)
        self.arrays: dict[str, Any] = {**outputs.arrays, "directions": directions.astype(np.float32)}
        self.outputs, self.extra, self.steps = len(directions), outputs.extra, outputs.steps
        self.settings: Mapping[str, Any] = {"directions": len(directions), "ridge": RIDGE}

    def context(self, indices: np.ndarray, mesh: Mesh) -> Any:
        """Return what `Outputs.context` returns."""
        return self._outputs.context(indices, mesh)


def _pairs(subject: Subject, split: str, partner: str, rows: np.ndarray | None = None) -> list[np.ndarray]:
    """Return the embeddings of both inputs, float64, of the rows of a split that have both."""
    source, parts = subject.source, []
    both = [source.of_split(subject.store, split, name) for name in (subject.input, partner)]
    having = both[0][1] & both[1][1]
    if rows is not None:
        chosen = np.zeros(len(having), bool)
        chosen[rows] = True
        having &= chosen
    for features, _ in both:
        parts.append(np.asarray(features[having], np.float64))
    return parts
