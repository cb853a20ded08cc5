"""A small cohort as files: a table, pictures, matrices, texts, masks and boxes, some of them missing.

    python examples/cohort.py raw
    mmcl prepare --request raw/cohort.json --out stores/cohort

Everything is drawn at random: it shows the forms of files, and nothing can be learnt from it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

PEOPLE = 40
SIZE = 16
WORDS = ("clear", "lungs", "heart", "enlarged", "effusion", "left", "right", "no", "small", "large")


def draw(folder: Path, *, people: int = PEOPLE) -> dict:
    """Write all files and return the request of them, as JSON values.

    Person n is called 1000 + n. Those with n % 4 == 3 have no scores (pgs), with n % 5 == 4 no burdens, with n % 11 ==
    10 no genotypes, with n % 7 == 6 no report, and with n % 10 == 9 no right picture.
    """
    rng = np.random.default_rng(0)
    keys = [1000 + n for n in range(people)]
    for name in ("left", "right", "discs", "scans"):
        (folder / name).mkdir()
    for n, key in enumerate(keys):
        picture = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
        Image.fromarray(picture).save(folder / "left" / f"{key}_0.png")
        if n % 10 != 9:
            deep = rng.integers(0, 4096, (SIZE, SIZE), np.uint16)
            Image.fromarray(deep).save(folder / "right" / f"{key}_1.png")
        disc = np.zeros((SIZE, SIZE), np.uint8)
        disc[4 : 6 + n % 8, 4:12] = 255
        Image.fromarray(disc).save(folder / "discs" / f"{key}.png")
        np.save(folder / "scans" / f"{key}.npy", rng.normal(size=(4, 6, 5)).astype(np.float32))
    pl.DataFrame(
        {
            "eid": keys,
            "age": rng.integers(40, 70, people),
            "sex": rng.choice(["female", "male"], people),
            "bmi": [None if n % 6 == 5 else 20 + n / 10 for n in range(people)],
        }
    ).write_csv(folder / "people.csv")
    some = [n for n in range(people) if n % 4 != 3]
    scores = {f"PGS{i}": rng.normal(size=len(some)) for i in range(6)}
    pl.DataFrame({"IID": [float(keys[n]) for n in some], **scores}).write_csv(folder / "pgs.tsv", separator="\t")
    some = [n for n in range(people) if n % 5 != 4]
    np.save(folder / "burdens.npy", rng.poisson(0.5, (len(some), 5)).astype(np.float32))
    (folder / "burdens_iid.txt").write_text("".join(f"{keys[n]}\n" for n in some))
    (folder / "burdens_names.txt").write_text("".join(f"GENE{i}\n" for i in range(5)))
    some = [n for n in range(people) if n % 11 != 10]
    genotypes = {f"rs{i}": [None if rng.random() < 0.02 else int(rng.integers(0, 3)) for _ in some] for i in range(12)}
    pl.DataFrame({"IID": [keys[n] for n in some], **genotypes}).write_parquet(folder / "snps.parquet")
    some = [n for n in range(people) if n % 7 != 6]
    texts = [f"{' '.join(rng.choice(WORDS, 4))}. {' '.join(rng.choice(WORDS, 3))}!" for _ in some]
    pl.DataFrame({"study": [str(keys[n]) for n in some], "findings": texts}).write_csv(folder / "reports.csv")
    pl.DataFrame(
        {
            "subject": keys,
            "grade": [["mild", "severe", "none"][n % 3] for n in range(people)],
            "pressure": rng.normal(120, 10, people),
            "edema": [n % 2 for n in range(people)],
            "cataract": [int(n % 3 == 0) for n in range(people)],
        }
    ).write_csv(folder / "outcomes.csv")
    boxes = [(key, 1, 2, 3 + n % 8, 9, "spot" if n % 2 else "bleeding") for n, key in enumerate(keys) if n % 3]
    boxes += [(key, None, None, None, None, None) for n, key in enumerate(keys) if not n % 3]
    pl.DataFrame(boxes, orient="row", schema=["image", "x0", "y0", "x1", "y1", "class"]).write_csv(folder / "boxes.csv")
    return request(folder)


def request(folder: Path) -> dict:
    """Return the request of the files in a folder; every table has a key column of its own."""
    outcomes = {"file": f"{folder}/outcomes.csv", "key": "subject"}
    return {
        "key_column": "eid",
        "cohort": "outer",
        "split": [0.6, 0.2, 0.2],
        "entries": {
            "image": {"kind": "image", "folder": f"{folder}/left", "files": "{key}_*.png", "required": True},
            "right": {"kind": "image", "folder": f"{folder}/right", "files": "{key}_1.png", "bits": 16},
            "scan": {"kind": "volume", "folder": f"{folder}/scans", "files": "{key}.npy", "bits": 16},
            "table": {"kind": "table", "file": f"{folder}/people.csv"},
            "pgs": {"kind": "vector", "file": f"{folder}/pgs.tsv", "key": "IID"},
            "burdens": {
                "kind": "vector",
                "file": f"{folder}/burdens.npy",
                "keys": f"{folder}/burdens_iid.txt",
                "names": f"{folder}/burdens_names.txt",
                "dtype": "int8",
            },
            "snps": {"kind": "vector", "file": f"{folder}/snps.parquet", "key": "IID", "dtype": "int8"},
            "report": {
                "kind": "text",
                "file": f"{folder}/reports.csv",
                "key": "study",
                "column": "findings",
                "length": 64,
            },
        },
        "targets": {
            "grade": {"kind": "ordinal", **outcomes, "column": "grade", "categories": ["none", "mild", "severe"]},
            "pressure": {"kind": "number", **outcomes, "column": "pressure"},
            "diseases": {"kind": "multi-label", **outcomes, "column": ["edema", "cataract"]},
            "disc": {
                "kind": "mask",
                "of": "image",
                "folder": f"{folder}/discs",
                "files": "{key}.png",
                "classes": {"background": 0, "disc": 255},
            },
            "lesions": {"kind": "boxes", "of": "image", "file": f"{folder}/boxes.csv", "key": "image"},
        },
    }


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "raw")
    target.mkdir(parents=True)
    path = target / "cohort.json"
    path.write_text(json.dumps(draw(target), indent=2) + "\n")
    print(f"Now: mmcl prepare --request {path} --out stores/cohort")
