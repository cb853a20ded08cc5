"""From a CSV file and a folder of images to embeddings, from a script or a notebook.

    python examples/embed.py OUT

The data are the digits that ship with the package: `OUT/raw` gets a table of 2,000 rows and their images. Replace the
paths and the names of the two columns by your own.
"""

import sys
from pathlib import Path

import polars as pl

import mmcl_jax as mj
from mmcl_jax.datasets import digits

SHORT = {"epochs": 4, "schedule.warmup_epochs": 0}  # leave it out to train as long as the data ask for


def main(out: Path) -> pl.DataFrame:
    """Train encoders, evaluate them and embed all rows; return the embeddings beside the labels."""
    digits.unpack(out / "raw")
    rows, images = pl.read_csv(out / "raw" / "digits.csv"), out / "raw" / "images"

    embedder = mj.fit(
        rows, images, image_column="file", label="digit", ignore="id", overrides=SHORT, workdir=out / "fits"
    )
    embeddings = embedder.transform(rows)  # [N, D] float32 of the images, in the order of the rows

    run = mj.Run.open(embedder.workdir_ / "run")  # what `mmcl pretrain` makes, for all that `mmcl` does with runs
    print(run)
    print(mj.evaluate(run, protocol="knn", baselines="pixels"))

    result = rows.select("id", "digit", embedding=pl.Series(embeddings))
    result.write_parquet(out / "embeddings.parquet")
    return result


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
