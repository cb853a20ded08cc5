"""Membranes with an electron micrograph each, drawn by `mmcl generate membranes`."""

from pathlib import Path

import polars as pl

from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.errors import check
from mmcl_jax.prepare.recipe import Recipe, Step

# By kind, the columns of the process with their units, and columns that mean nothing.
_PROCESS = {
    "categorical": {"shape": "", "polymer": "", "solvent": "", "additive": "", "bath": ""},
    "continuous": {
        "polymer_wt_percent": "%",
        "additive_wt_percent": "%",
        "dope_temperature_c": "C",
        "bath_temperature_c": "C",
        "air_exposure_s": "s",
        "humidity_percent": "%",
        "gap_um": "um",
        "speed_m_per_min": "m/min",
    },
}
_NOISE = {
    "categorical": {"operator": ""},
    "continuous": {"batch": "", "pressure_hpa": "hPa", "balance_drift_mg": "mg"},
}


def membranes(*, root: Path) -> Recipe:
    """Return drawn membranes: 13 columns of a process and 4 of noise, a grey image, and the label `permeance`.

    The drawn membranes stand in for HIPMP, the second data set of MT-CMTM (Roy et al., arXiv 2501.07304), which is not
    public. The columns have the tags "process" and "noise". The label is a number: L of water per m2, hour and bar.

    Args:
      root: the folder that `mmcl generate membranes` made.

    Raises:
      UserError: the folder holds no such data.
    """
    table = root / "membranes.csv"
    check(table.is_file(), f"--root: {table} does not exist; make the folder with mmcl generate membranes.")
    rows = pl.read_csv(table, infer_schema_length=None)
    declared = {
        "membrane": Declared(role="identifier"),
        "image": Declared(role="image"),
        "permeance": Declared(role="label", kind="continuous", unit="L/(m2 h bar)"),
    }
    for tag, kinds in (("process", _PROCESS), ("noise", _NOISE)):
        for kind, columns in kinds.items():
            for name, unit in columns.items():
                declared[name] = Declared(role="feature", kind=kind, unit=unit, tags=(tag,))
    lacking = sorted(set(declared) - set(rows.columns))
    check(not lacking, f"--root: {table} has no column {', '.join(lacking)}; make it with mmcl generate membranes.")
    return Recipe(
        name="membranes",
        rows=rows,
        images=root / "images",
        image_columns=("image",),
        declaration=Declaration(columns=declared, others="ignore"),
        steps=(Step("drawn membranes", rows.height, rows.height),),
    )
