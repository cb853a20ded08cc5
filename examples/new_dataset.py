"""A data set of your own: arrays that some library gives, as a store with columns, splits and a data card.

    python examples/new_dataset.py OUT

The data are scikit-learn's 1,797 digits of 8 x 8 pixels, and how much ink lies in each quarter of them.
"""

import json
import sys
from pathlib import Path

import polars as pl
from sklearn.datasets import load_digits

import mmcl_jax as mj

# What cannot be seen in the values: roles, units and tags. The rest is inferred.
COLUMNS = {
    "digit": {"role": "label"},
    **{f"ink_{corner}": {"kind": "continuous", "unit": "grey levels", "tags": ["morphometric"]} for corner in "abcd"},
}


def main(out: Path) -> mj.Store:
    """Return the store, which `out` holds."""
    digits = load_digits()
    quarters = digits.images.reshape(-1, 2, 4, 2, 4).sum(axis=(2, 4)).reshape(-1, 4)
    rows = pl.DataFrame({"digit": digits.target} | {f"ink_{c}": quarters[:, i] for i, c in enumerate("abcd")})
    pixels = (digits.images * (255 / 16)).astype("uint8")  # [N, H, W]
    out.mkdir(parents=True, exist_ok=True)
    (out / "schema.json").write_text(json.dumps({"columns": COLUMNS}, indent=2))
    return mj.prepare(rows, pixels, schema=out / "schema.json", split=(0.7, 0.1, 0.2), out=out / "store")


if __name__ == "__main__":
    print(main(Path(sys.argv[1])).describe())
