"""The scores of a run's embeddings, as rows of one table: how they spread, agree, retrieve, tell labels and point."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mmcl_jax.evaluation.alignment.agreement import alignment_rmse, entropy, pair_distance, position_ranks
from mmcl_jax.evaluation.alignment.attend import Attended
from mmcl_jax.evaluation.alignment.bootstrap import Estimate, auroc_interval, mean_interval
from mmcl_jax.evaluation.alignment.sides import Side
from mmcl_jax.evaluation.alignment.spread import (
    centroid_distance,
    centroids_of,
    channel_std,
    local_std,
    off_diagonal_covariance,
    pairwise_distance,
    uniformity,
    unit_length,
)
from mmcl_jax.evaluation.alignment.subgroups import Subgroups
from mmcl_jax.evaluation.protocols.retrieval import ranks

TOPS = (1, 5)
PARTS = ("spread", "agreement", "retrieval", "attention", "prompts", "pointing")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """A number about the embeddings of a run.

    Attributes:
      part: one of `PARTS`.
      of: what is measured, such as "image pooled" or the name of a label.
      measure: its name.
      value: NaN where it has none.
      low: lower end of the 95 % interval; NaN without.
      high: upper end of the interval; NaN without.
      chance: the value by chance; NaN where there is no such value.
      rows: number of rows (of pointing, sentences) behind the value.
      column: of subgroups; "" for all rows.
      group: the subgroup.
    """

    part: str
    of: str
    measure: str
    value: float
    low: float = float("nan")
    high: float = float("nan")
    chance: float = float("nan")
    rows: int
    column: str = ""
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Rows:
    """What the n rows of a score are.

    Attributes:
      groups: `[n]`, such as the patient of each, which is drawn whole for intervals; None for rows by themselves.
      subgroups: for scores of their own.
      seed: of the bootstrap.
    """

    groups: np.ndarray | None
    subgroups: Sequence[Subgroups]
    seed: int = 0

    def interval(self, values: np.ndarray, at: np.ndarray | None = None) -> Estimate:
        """Return the mean of values `[m]` with its interval; `at` `[m]` are the rows that they are of."""
        groups = self.groups if at is None or self.groups is None else self.groups[at]
        return mean_interval(values, groups=at if groups is None else groups, seed=self.seed)

    def estimates(
        self, values: np.ndarray, chance: np.ndarray | float, at: np.ndarray | None = None, **named: Any
    ) -> Iterator[Score]:
        """Yield the score of the mean over all rows, and over each subgroup that is large enough.

        Args:
          values: `[m]`, NaN where there is none.
          chance: `[m]` or a number.
          at: the rows that the values are of, which may repeat; by default each row once.
          **named: part, of and measure.
        """
        every = np.arange(len(values)) if at is None else at
        by_chance = np.broadcast_to(np.asarray(chance, np.float64), values.shape)
        for column, group, mask in self._masks(every):
            found = self.interval(values[mask], every[mask])
            known = np.isfinite(values[mask])
            expected = float(by_chance[mask][known].mean()) if known.any() else float("nan")
            yield Score(**named, **found._asdict(), chance=expected, column=column, group=group)

    def aurocs(self, scores: np.ndarray, targets: np.ndarray, **named: Any) -> Iterator[Score]:
        """Yield the AUROC over all rows, and over each subgroup that is large enough and has both classes."""
        for column, group, mask in self._masks(np.arange(len(scores))):
            groups = None if self.groups is None else self.groups[mask]
            found = auroc_interval(scores[mask], targets[mask], groups=groups, seed=self.seed)
            if not column or np.isfinite(found.value):
                yield Score(**named, **found._asdict(), chance=0.5, column=column, group=group)

    def _masks(self, at: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
        yield "", "", np.ones(len(at), bool)
        for one in self.subgroups:
            for name, mask in one.masks():
                if mask[at].any():
                    yield one.column, name, mask[at]


def spread_of(side: Side) -> Iterator[Score]:
    """Yield how the embeddings of a side spread; all have length 1 before anything is computed."""
    name, rows = side.modality, len(side.pooled)
    for layer, vectors in (("pooled", side.pooled), ("projected", side.projected)):
        if vectors is None:
            continue
        unit = unit_length(vectors)
        std = channel_std(unit)
        for measure, value in (
            ("std", std),
            ("std x sqrt(D)", std * np.sqrt(unit.shape[1])),
            ("uniformity", uniformity(unit)),
            ("off-diagonal covariance", off_diagonal_covariance(unit)),
            ("distance of pairs", pairwise_distance(unit)),
        ):
            yield Score(part="spread", of=f"{name} {layer}", measure=measure, value=value, rows=rows)
    for layer, local in (("local", side.local), ("local projected", side.regions)):
        if local is None:
            continue
        unit = unit_length(local)
        found = local_std(unit, side.mask)
        for measure, value in (
            ("total std", found.total),
            ("std within samples", found.within),
            ("std of centroids", found.centroid),
            ("centroids over within", found.centroid_over_within),
            ("distance to centroid", centroid_distance(unit, side.mask)),
            ("distance of centroids", pairwise_distance(centroids_of(unit, side.mask))),
        ):
            yield Score(part="spread", of=f"{name} {layer}", measure=measure, value=value, rows=rows)


def agreement_of(image: Side, report: Side, attended: Attended | None, rows: Rows) -> Iterator[Score]:
    """Yield distances of pairs and of what the alignment reads, and retrieval between rows and within them."""
    if image.projected is not None and report.projected is not None:
        first, second = unit_length(image.projected), unit_length(report.projected)
        distance = pair_distance(first, second)
        yield from rows.estimates(distance, np.nan, part="agreement", of="pairs", measure="distance")
        for query, candidates, name in (
            (first, second, f"{image.modality} to {report.modality}"),
            (second, first, f"{report.modality} to {image.modality}"),
        ):
            ranking = ranks(query, candidates)
            for top in TOPS:
                chance = min(top / len(ranking), 1.0)
                hits = (ranking <= top).astype(float)
                yield from rows.estimates(hits, chance, part="retrieval", of=name, measure=f"top-{top}")
    if attended is None:
        return
    for side, read, other in ((image, attended.image, report), (report, attended.report, image)):
        assert side.regions is not None
        assert side.mask is not None
        local, from_other = unit_length(side.regions), unit_length(read)
        of = f"{side.modality} local, from {other.modality}"
        error = alignment_rmse(local, from_other, side.mask)
        yield from rows.estimates(error, np.nan, part="agreement", of=of, measure="RMSE")
        ranking, count = position_ranks(local, from_other, side.mask), side.mask.sum(axis=1)
        for top in TOPS:
            hits = np.where(side.mask, ranking <= top, False).sum(axis=1) / np.where(count > 0, count, np.nan)
            chance = np.minimum(top / np.maximum(count, 1), 1)
            named: dict[str, Any] = {"part": "retrieval", "of": f"{of}, within a row", "measure": f"top-{top}"}
            yield from rows.estimates(hits, chance, **named)


def attention_of(sides: Sequence[Side], attended: Attended | None, rows: Rows) -> Iterator[Score]:
    """Yield the entropy in nats of the weights of attention pooling and of the alignment; by chance they are equal."""
    for side in sides:
        if side.weight is not None and side.mask is not None:
            values = np.where(side.mask.any(axis=1), entropy(side.weight), np.nan)
            most = np.log(np.maximum(side.mask.sum(axis=1), 1))
            named: dict[str, Any] = {"part": "attention", "of": f"{side.modality} pooling", "measure": "entropy"}
            yield from rows.estimates(values, most, **named)
    if attended is None or len(sides) < 2:
        return
    for side, other, weights in (
        (sides[0], sides[1], attended.over_sentences),
        (sides[1], sides[0], attended.over_regions),
    ):
        assert side.mask is not None
        assert other.mask is not None
        counts = side.mask.sum(axis=1)
        of_row = np.where(side.mask, entropy(weights), 0).sum(axis=1)
        values = np.where((counts > 0) & other.mask.any(axis=1), of_row / np.maximum(counts, 1), np.nan)
        most = np.log(np.maximum(other.mask.sum(axis=1), 1))
        of = f"alignment, {side.modality} over {other.modality}"
        yield from rows.estimates(values, most, part="attention", of=of, measure="entropy")


def prompts_of(
    images: np.ndarray, prompts: Mapping[str, tuple[np.ndarray, np.ndarray]], targets: Mapping[str, np.ndarray],
    rows: Rows,
) -> Iterator[Score]:  # fmt: skip
    """Yield how well pairs of prompts tell labels, and retrieve images with a finding and, negated, without it.

    The score of a label is the cosine with its prompt minus that with the prompt of its absence. The precision is that
    of the images that are nearest to a prompt, among all images with the label.

    Args:
      images: projected embeddings `[n, d]` of length 1.
      prompts: of every label, the embeddings `[d]` of length 1 of the prompt and of the prompt of absence.
      targets: of every label, `[n]` 1, 0 or NaN.
      rows: that the images are of.
    """
    for label, (present, absent) in prompts.items():
        found, cosines = targets[label], (images @ present, images @ absent)
        yield from rows.aurocs(cosines[0] - cosines[1], found, part="prompts", of=label, measure="AUROC of the pair")
        yield from rows.aurocs(cosines[0], found, part="prompts", of=label, measure="AUROC of the prompt alone")
        known = np.flatnonzero(np.isfinite(found))
        for negated, (cosine, wanted) in enumerate(zip(cosines, (1.0, 0.0), strict=True)):
            order = known[np.argsort(-cosine[known], kind="stable")]
            is_wanted = (found == wanted).astype(float)
            for top in TOPS:
                nearest = order[:top]
                yield Score(
                    part="prompts",
                    of=f"{label}, negated" if negated else label,
                    measure=f"precision at {top}",
                    value=float(is_wanted[nearest].mean()) if len(nearest) else float("nan"),
                    chance=float(is_wanted[known].mean()) if len(known) else float("nan"),
                    rows=len(known),
                )
