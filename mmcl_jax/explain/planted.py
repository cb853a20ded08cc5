"""Explanations of drawn eyes beside the truth: whether planted features have more attribution than noise."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import rankdata

from mmcl_jax.errors import UserError, check
from mmcl_jax.evaluation.results.interval import t_half_width
from mmcl_jax.text import words_of

CAUSES, LINKAGE = "causes.csv", "linkage.csv"


@dataclasses.dataclass(frozen=True)
class Truth:
    """What `mmcl generate fundus` planted, in the folder `truth/` beside the drawn data.

    Attributes:
      causal: per modality, the features that a visible trait depends on.
      linked: per modality, features in linkage with a causal one, which are neither causal nor noise.
      partners: of each causal variant, itself and the variants in linkage with it.
    """

    causal: Mapping[str, frozenset[str]]
    linked: Mapping[str, frozenset[str]]
    partners: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Truth":
        """Read the truth from `causes.csv` (modality, feature) and `linkage.csv` (variant, causal).

        Raises:
          UserError: a file is missing, or lacks a column.
        """
        causes, linkage = _table(folder / CAUSES, "modality", "feature"), _table(folder / LINKAGE, "variant", "causal")
        causal: dict[str, set[str]] = {}
        for modality, feature in causes.select("modality", "feature").iter_rows():
            causal.setdefault(modality, set()).add(feature)
        linked = frozenset(linkage["variant"]) - causal.get("snp", set())
        partners = {variant: {variant} for variant in causal.get("snp", set())}
        for variant, cause in linkage.select("variant", "causal").iter_rows():
            partners.setdefault(cause, {cause}).add(variant)
        return cls(
            {name: frozenset(features) for name, features in causal.items()},
            {"snp": linked},
            {cause: frozenset(variants) for cause, variants in partners.items()},
        )


def auroc_of_causal(columns: Sequence[Mapping[str, Any]], truth: Truth, modality: str) -> dict[str, float]:
    """Return the AUROC of causal against noise features by importance, and how many features were of either kind.

    It is the share of pairs of a causal and a noise feature in which the causal one is more important. Features in
    linkage with a causal one count as neither.

    Args:
      columns: of an explanation, each with name and importance.
      truth: what was planted.
      modality: the name of the modality in the truth, such as "pgs".

    Raises:
      UserError: the columns have no causal feature, or no noise.

    Example:
      >>> columns = [{"name": n, "importance": v} for n, v in (("a", 3.0), ("b", 1.0), ("c", 2.0), ("d", 9.0))]
      >>> auroc_of_causal(columns, Truth({"snp": frozenset("a")}, {"snp": frozenset("d")}), "snp")
      {'auroc': 1.0, 'causal': 1, 'noise': 2, 'neither': 1}
    """
    causal, linked = truth.causal.get(modality, frozenset()), truth.linked.get(modality, frozenset())
    kept = [column for column in columns if column["name"] not in linked]
    planted = np.array([column["name"] in causal for column in kept], bool)
    count, noise = int(planted.sum()), int((~planted).sum())
    check(
        count > 0 and noise > 0,
        f"Of {len(columns)} features of {modality!r}, {count} are causal and {noise} are noise; the truth is of other "
        "data, or all features were selected by it.",
    )
    ranks = rankdata([column["importance"] for column in kept])
    auroc = float((ranks[planted].sum() - count * (count + 1) / 2) / (count * noise))
    return {"auroc": auroc, "causal": count, "noise": noise, "neither": len(columns) - len(kept)}


def over_drawings(values: Sequence[float]) -> dict[str, float]:
    """Return the mean over drawings with its 95 % t-interval; NaN ends of a single drawing.

    Example:
      >>> {name: round(value, 3) for name, value in over_drawings([0.8, 0.9, 1.0]).items()}
      {'mean': 0.9, 'low': 0.652, 'high': 1.148}
    """
    mean = float(np.mean(values))
    half = t_half_width(float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"), len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _table(path: Path, *columns: str) -> pl.DataFrame:
    check(path.is_file(), f"{path} does not exist; the truth is the folder `truth` that mmcl generate fundus writes.")
    try:
        table = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"{path} cannot be read: {words_of(error)}.") from error
    for column in columns:
        check(column in table.columns, f"{path} has no column {column!r}; it has {', '.join(table.columns)}.")
    return table
