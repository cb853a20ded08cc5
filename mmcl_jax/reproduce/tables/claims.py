"""What the paper says its tables show, each claim as differences that must all be above 0."""

from mmcl_jax.reproduce.tables.columns import FROZEN, FROZEN_TABLE, SHARES, TRAINABLE, TRAINABLE_TABLE
from mmcl_jax.reproduce.tables.rows import (
    ELIMINATION,
    ELIMINATION_LAAF,
    FIGURE2_ROWS,
    LAAF,
    MMCL,
    NNCLR,
    ONLY,
    SIMCLR,
    SUPCON,
    SUPCON_LAAF,
    TABLE1_ROWS,
    TABLE1_TABLE_ROWS,
    TABLE3_ROWS,
    VICREG,
    WITHOUT,
)
from mmcl_jax.reproduce.tables.spec import Claim, Contrast, TableColumn, TableRow, difference


def _above_all(rows: tuple[TableRow, ...], column: TableColumn) -> tuple[Contrast, ...]:
    return tuple(difference(MMCL, row, column) for row in rows if row.has(column))


_PAPERS = tuple(row for row in TABLE1_ROWS if row.published and row.key != MMCL.key)
_PRETRAINED = tuple(row for row in FIGURE2_ROWS if row.kind == "image")

TABLE1_CLAIMS = (
    Claim(
        "With the encoder frozen, multimodal pretraining is above every image-only method", _above_all(_PAPERS, FROZEN)
    ),
    Claim(
        "With the encoder trainable, multimodal pretraining is above every image-only method",
        _above_all(_PAPERS, TRAINABLE),
    ),
    Claim(
        "With the encoder frozen, it is also above image-only methods that the paper does not have",
        _above_all((NNCLR, VICREG), FROZEN),
        ours=True,
    ),
    Claim(
        "With the encoder trainable, it is also above image-only methods that the paper does not have",
        _above_all((NNCLR, VICREG), TRAINABLE),
        ours=True,
    ),
)

_TABLE_ONLY = tuple(row for row in TABLE1_TABLE_ROWS if row.key != MMCL.key)
TABLE1_TABLE_CLAIMS = tuple(
    Claim(
        f"On the table, {words}, multimodal pretraining is above every other method",
        _above_all(_TABLE_ONLY, column),
        True,
    )
    for words, column in (("frozen", FROZEN_TABLE), ("trainable", TRAINABLE_TABLE))
)


def _half_kept(row: TableRow) -> Contrast:
    """Return a number above 0 if the row keeps more than half of what all columns gain over SimCLR."""
    key = FROZEN.key
    label = f"{row.label} − halfway from SimCLR to all columns"
    return Contrast(label, ((row.key, key, 1.0), (MMCL.key, key, -0.5), (SIMCLR.key, key, -0.5)))


TABLE2_CLAIMS = (
    Claim("All columns together are above image-only pretraining", (difference(MMCL, SIMCLR, FROZEN),)),
    # Nothing can be kept where there is no gain.
    Claim(
        "Morphometric columns alone keep most of the gain (more than half)",
        (difference(MMCL, SIMCLR, FROZEN), _half_kept(ONLY)),
    ),
    Claim("Without the morphometric columns there is a loss", (difference(MMCL, WITHOUT, FROZEN),)),
    Claim("Morphometric columns alone are above the others alone", (difference(ONLY, WITHOUT, FROZEN),)),
)

TABLE3_CLAIMS = (
    Claim("The label as a feature (LaaF) is above MMCL", (difference(LAAF, MMCL, FROZEN),)),
    Claim("SupCon is above MMCL", (difference(SUPCON, MMCL, FROZEN),)),
    Claim(
        "The label as a feature improves FN elimination and SupCon",
        (difference(ELIMINATION_LAAF, ELIMINATION, FROZEN), difference(SUPCON_LAAF, SUPCON, FROZEN)),
    ),
    Claim(
        "SupCon with LaaF is the best of all",
        tuple(difference(SUPCON_LAAF, row, FROZEN) for row in TABLE3_ROWS if row.key != SUPCON_LAAF.key),
    ),
)


def _grows(row: TableRow, many: TableColumn, few: TableColumn) -> Contrast:
    """Return MMCL's advantage over the row with few labels minus that with many."""
    weights = ((MMCL.key, few.key, 1.0), (row.key, few.key, -1.0), (MMCL.key, many.key, -1.0), (row.key, many.key, 1.0))
    return Contrast(f"advantage over {row.label}, {100 * few.share:g} % − {100 * many.share:g} % of labels", weights)


_FROZEN_SHARES, _TRAINABLE_SHARES = SHARES[:3], SHARES[3:]
FIGURE2_CLAIMS = tuple(
    claim
    for words, columns in (("frozen", _FROZEN_SHARES), ("trainable", _TRAINABLE_SHARES))
    for claim in (
        Claim(
            f"With the encoder {words}, the advantage over image-only pretraining is largest with the fewest labels",
            tuple(_grows(row, many, columns[-1]) for row in _PRETRAINED for many in columns[:-1]),
        ),
        Claim(
            f"With the encoder {words} and 1 % of labels, multimodal pretraining is above every image-only method",
            _above_all(_PRETRAINED, columns[-1]),
        ),
    )
)
