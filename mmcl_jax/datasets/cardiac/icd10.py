"""ICD-10 codes that make a subject of UK Biobank positive, and the labels made of them.

Codes are written as UK Biobank does, without a dot: I21.4 is I214.
"""

from typing import Literal

import polars as pl

from mmcl_jax.errors import check

CodeList = Literal["released", "paper"]
DIAGNOSES = 41270  # field of all hospital diagnoses, whenever made

INFARCTION = tuple(f"I21{digit}" for digit in "012349") + tuple(f"I22{digit}" for digit in "0189")
CAD = (
    *(f"I20{digit}" for digit in "0189"),
    *INFARCTION,
    *(f"I24{digit}" for digit in "089"),
    *(f"I25{digit}" for digit in "012345689"),
)
# In the released notebook a comma is missing between these two, so neither is ever matched.
FUSED = ("I249", "I250")


def codes(label: str, code_list: CodeList = "released") -> tuple[str, ...]:
    """Return the codes of "cad" (coronary artery disease) or "infarction".

    Args:
      label: "cad" or "infarction".
      code_list: "released" as the published code matches them, without I24.9 and I25.0, which a missing comma fuses
        into a code that does not exist; "paper" with that comma in its place. (The paper's own list is in its
        supplement; the notebook's is the one that is public.)

    >>> sorted(set(codes("cad", "paper")) - set(codes("cad", "released")))
    ['I249', 'I250']
    """
    check(code_list in ("released", "paper"), f"The code list must be released or paper, not {code_list!r}.")
    listed = {"cad": CAD, "infarction": INFARCTION}[label]
    return tuple(code for code in listed if code_list == "paper" or code not in FUSED)


def diagnosed(table: pl.DataFrame, columns: list[str], wanted: tuple[str, ...]) -> pl.Series:
    """Return whether any text column has any of the codes, by row; subjects without a diagnosis are negative."""
    found = [pl.col(name).str.replace(".", "", literal=True).str.strip_chars().is_in(wanted) for name in columns]
    return table.select(pl.any_horizontal(expression.fill_null(False) for expression in found)).to_series()
