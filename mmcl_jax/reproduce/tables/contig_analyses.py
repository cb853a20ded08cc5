"""The analyses of ContIG (Taleb et al., CVPR 2022) as tables: association (table 2) and attributions (figures 3, 4).

The rows are those of table 1, so that in a folder of tables they are the same runs.
"""

import dataclasses

from mmcl_jax.reproduce import published
from mmcl_jax.reproduce.outcome import INFLATED
from mmcl_jax.reproduce.spec import (
    ASSOCIATION,
    ATTRIBUTION,
    FALSE,
    GLOBAL,
    INFLATION,
    LOCAL,
    PLANTED,
    REGIONS,
    Claim,
    Contrast,
    PaperTable,
    TableColumn,
    TableRow,
    difference,
)
from mmcl_jax.reproduce.tables import mmcl
from mmcl_jax.reproduce.tables.contig import BURDEN, GENETIC, IMAGES, INNER, OUTER, PGS, SNP

_PAPER = "Taleb et al., CVPR 2022"
_VARIANTS = ("fundus", "ukb")
_THEIRS = "Theirs: single runs."
_MODALITIES = {SNP.key: "Variants", PGS.key: "Scores", BURDEN.key: "Burdens"}


def _studied(key: str, heading: str, *, truth: bool) -> TableColumn:
    return TableColumn(key=key, heading=heading, protocol=ASSOCIATION, metric=key, store="cohort", truth=truth)


FOUND = _studied(PLANTED, "Planted variants", truth=True)
TABLE2 = (
    FOUND,
    _studied(FALSE, "False regions", truth=True),
    _studied(REGIONS, "Regions", truth=False),
    _studied(INFLATION, "Inflation", truth=False),
)


def _studies(rows: tuple[TableRow, ...]) -> tuple[TableRow, ...]:
    """Return rows that are studied for association, with the numbers of regions that the paper found."""
    return tuple(
        dataclasses.replace(row, protocols=(ASSOCIATION,), published=published.CONTIG_TABLE2.get(row.key, {}))
        for row in rows
    )


def _regions(row: TableRow) -> float | None:
    """Return the number of regions that the paper found and trusts."""
    numbers = published.CONTIG_TABLE2.get(row.key, {}).get("CONTIG", {})
    return numbers[REGIONS].mean if numbers else None


def _more(label: str, weights: tuple[tuple[TableRow, float], ...]) -> Contrast:
    """Return a weighted sum of the planted variants that rows find, with what it is in the regions of the paper."""
    parts = [(_regions(row), weight) for row, weight in weights]
    known = [number * weight for number, weight in parts if number is not None]
    theirs = {"CONTIG": sum(known)} if len(known) == len(parts) else {}
    return Contrast(label, tuple((row.key, FOUND.key, weight) for row, weight in weights), theirs)


def _mean_above(row: TableRow) -> Contrast:
    weights = tuple((one, 1 / len(GENETIC)) for one in GENETIC)
    return _more(f"mean of ContIG − {row.label}", (*weights, (row, -1.0)))


def _above(first: TableRow, second: TableRow) -> Contrast:
    return _more(f"{first.label} − {second.label}", ((first, 1.0), (second, -1.0)))


_TRUSTED = tuple(row for row in IMAGES if _regions(row) is not None)
_STUDY_CLAIMS = (
    Claim(
        "Pretraining with genetics finds on average more than every one on images alone (BYOL left out, as in the "
        "paper)",
        tuple(map(_mean_above, _TRUSTED)),
    ),
    Claim("Scores find more than raw variants", (_above(PGS, SNP),)),
    Claim(
        "All three together (inner) find the most",
        tuple(_above(INNER, row) for row in GENETIC if row is not INNER),
    ),
    Claim("The same is so beside BYOL", tuple(_mean_above(row) for row in IMAGES if row not in _TRUSTED), ours=True),
    Claim(
        "Every pretraining with genetics finds more than an encoder that was never trained",
        tuple(_above(row, mmcl.RANDOM) for row in GENETIC),
        ours=True,
    ),
)
_STUDY_NOTE = (
    "The left eyes of people whom no run has seen are embedded, and ten principal components are tested "
    "with all variants (mmcl gwas): sex, age and 15 computed genetic components are taken out, p-values are corrected "
    "for the components, of which a collapsed encoder has fewer, and variants with p <= 5e-8 make regions. A planted "
    "variant is found if a region holds it or a variant in linkage with it (r2 of at least .05); a region without one "
    "is false. The inflation is that of all components together, of variants that are neither planted nor in linkage, "
    f"and the counts of a method with more than {INFLATED} stand in brackets."
)


def _attributed(key: str, metric: str) -> TableColumn:
    return TableColumn(
        key=key, heading=f"{_MODALITIES[key]} (AUROC, %)", protocol=ATTRIBUTION, metric=metric, input=key, truth=True
    )


def _explained(row: TableRow) -> TableRow:
    inputs = (row.key,) if row.key in _MODALITIES else tuple(_MODALITIES)
    return dataclasses.replace(row, protocols=(ATTRIBUTION,), inputs=inputs)


_RANDOM_WEIGHTS = dataclasses.replace(mmcl.RANDOM, key="random_weights", label="Random weights")
_EXPLAINED = tuple(map(_explained, (*GENETIC, _RANDOM_WEIGHTS)))
_ATTRIBUTION_NOTE = (
    "Test people are explained against validation people by integrated gradients of the loss (mmcl explain --method "
    "loss, 50 steps, temperature 1). The AUROC is the share of pairs of a planted feature and a feature that means "
    "nothing in which the planted one has more absolute attribution; variants in linkage with a planted one count as "
    "neither. An attribution is also as large as the feature's value, so common variants and genes have more of it "
    "than rare ones, whatever was learned: random weights show how much."
)


def _figure(name: str, title: str, source: str, metric: str, what: str, note: str, **parts: object) -> PaperTable:
    columns = tuple(_attributed(key, metric) for key in _MODALITIES)
    claims = []
    for column in columns:
        row = next(row for row in _EXPLAINED if row.key == column.key)
        several = [one for one in _EXPLAINED if one.key in (INNER.key, OUTER.key)]
        words = _MODALITIES[column.key].lower()
        claims += [
            Claim(f"{what} of {words} are found by a model of these alone", (_to_random(row, column),), ours=True),
            Claim(
                f"{what} of {words} are found by models of all three",
                tuple(_to_random(one, column) for one in several),
                ours=True,
            ),
        ]
    return PaperTable(
        name=f"contig/{name}",
        title=title,
        source=f"{_PAPER}, {source}",
        rows=_EXPLAINED,
        columns=columns,
        claims=tuple(claims),
        reference=OUTER.key,
        task=None,
        variants=_VARIANTS,
        target="CONTIG",
        theirs=_THEIRS,
        notes=f"{note} {_ATTRIBUTION_NOTE}",
        **parts,  # type: ignore[arg-type]
    )


def _to_random(row: TableRow, column: TableColumn) -> Contrast:
    return difference(row, _RANDOM_WEIGHTS, column)


TABLES = (
    PaperTable(
        name="contig/table2",
        title="Eyes: association of embeddings with planted variants",
        source=f"{_PAPER}, table 2",
        rows=_studies((*IMAGES, *GENETIC, mmcl.RANDOM)),
        columns=TABLE2,
        claims=_STUDY_CLAIMS,
        reference=PGS.key,
        task=None,
        variants=_VARIANTS,
        target="CONTIG",
        theirs=_THEIRS,
        beside=("metrics",),
        notes=_STUDY_NOTE,
    ),
    _figure(
        "figure3",
        "Eyes: what the loss of people depends on",
        "figure 3; the validation against noise is in its appendix, whose numbers are not available to us",
        GLOBAL,
        "Planted features",
        "The importance of a feature is its mean absolute attribution over people.",
        beside=("features",),
        figure="models",
    ),
    _figure(
        "figure4",
        "Eyes: what the loss of a single person depends on",
        "figure 4, which has no numbers",
        LOCAL,
        "Planted features of single people",
        "The AUROC of every person is by the person's own attributions, and the number is the mean over people.",
        beside=("person",),
        figure="person",
    ),
)
