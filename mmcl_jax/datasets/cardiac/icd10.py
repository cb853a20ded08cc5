"""ICD-10 codes that make a subject of UK Biobank positive, and the labels that follow from them.

Codes have no dot, as in UK Biobank: I21.4 is I214.
"""

from typing import Literal

import polars as pl

from mmcl_jax.errors import check

CodeList = Literal["released", "paper"]
DIAGNOSES = 41270  # field of all hospital diagnoses, at any time

INFARCTION = tuple(f"I21{digit}" for digit in "012349") + tuple(f"I22{digit}" for digit in "0189")
CAD = (
    *(f"I20{digit}" for digit in "0189"),
    *INFARCTION,
    *(f"I24{digit}" for digit in "089"),
    *(f"I25{digit}" for digit in "012345689"),
)
# The released notebook lacks a comma between these two codes, so it matches neither.
FUSED = ("I249", "I250")


def codes(label: str, code_list: CodeList = "released") -> tuple[str, ...]:
    """Return the codes of "cad" (coronary artery disease) or "infarction".

    Args:
      label: "cad" or "infarction".
      code_list: "released" for the codes that the published code matches, without I24.9 and I25.0, which a missing
        comma fuses into a code that does not exist; "paper" for the list with that comma. (The paper's own list is in
        its supplement; only the notebook's list is public.)

    >>> sorted(set(codes("cad", "paper")) - set(codes("cad", "released")))
    ['I249', 'I250']
    """
    check(code_list in ("released", "paper"), f"--dataset.code_list must be released or paper, not {code_list!r}.")
    listed = {"cad": CAD, "infarction": INFARCTION}[label]
    return tuple(code for code in listed if code_list == "paper" or code not in FUSED)


def diagnosed(table: pl.DataFrame, columns: list[str], codes: tuple[str, ...]) -> pl.Series:
    """Return whether any text column of each row has one of the codes; subjects without a diagnosis are negative."""
    matches = [pl.col(name).str.replace(".", "", literal=True).str.strip_chars().is_in(codes) for name in columns]
    return table.select(pl.any_horizontal(expression.fill_null(False) for expression in matches)).to_series()
