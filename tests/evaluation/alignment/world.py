"""A store of coloured squares with reports that name their colours, and a run whose weights know the colours."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import mmcl_jax as mj
from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.training.runs.run import Run

COLOURS = ("red", "green", "blue")
CELLS, SIDE = 4, 16  # regions and pixels along a side
WORDS = ("[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]", ".", "no", "there", "is", "a", "square", "seen", *COLOURS)
TRUTH = ("key", "finding", "x", "y", "width", "height", "image_width", "image_height", "sentence")


def prepared(folder: Path, rows: int = 60, seed: int = 0, words: Sequence[str] = WORDS) -> tuple[Store, Path]:
    """Return the store, and the truth: two squares of different colours in each image, a sentence for each."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    pixels = np.zeros((rows, SIDE, SIDE, 3), np.uint8)
    reports, truth, labels = [], [], {colour: [] for colour in COLOURS}
    for row in range(rows):
        cells = random.choice(CELLS * CELLS, 2, replace=False)
        colours = random.choice(3, 2, replace=False)
        width = SIDE // CELLS
        for sentence, (cell, colour) in enumerate(zip(cells, colours, strict=True)):
            y, x = width * (cell // CELLS), width * (cell % CELLS)
            pixels[row, y : y + width, x : x + width, colour] = 200
            box = (8 * x, 8 * y, 8 * width, 8 * width, 8 * SIDE, 8 * SIDE)  # in files of eight times the size
            truth.append((f"row{row}", COLOURS[colour], *box, sentence))
        reports.append(" ".join(f"There is a {COLOURS[colour]} square." for colour in colours))
        for index, colour in enumerate(COLOURS):
            labels[colour].append("yes" if index in colours else "no")
    keys = [f"row{row}" for row in range(rows)]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    with (folder / "reports.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("key", "report"), *zip(keys[:-3], reports[:-3], strict=True)])  # three lack one
    with (folder / "truth.csv").open("w", newline="") as file:
        csv.writer(file).writerows([TRUTH, *truth])
    sexes = ["F" if row % 2 else "M" for row in range(rows)]
    table = pl.DataFrame({"key": keys, "sex": sexes, "age": random.integers(20, 90, rows), **labels})
    report = {
        "kind": "text", "file": str(folder / "reports.csv"), "key": "key", "column": "report",
        "vocabulary": str(folder / "vocab.txt"),
    }  # fmt: skip
    store = mj.prepare(
        table, pixels, key_column="key", label=COLOURS, split=(0.5, 0.1, 0.4), duplicates="keep",
        request={"entries": {"report": report}}, out=folder / "store",
    )  # fmt: skip
    return store, folder / "truth.csv"


def begun(folder: Path, store: Store, *, aligned: bool = True, pooled: bool = True) -> Run:
    """Begin a run without training it; `aligned` says whether it has a local term."""
    config = experiment()
    config.name, config.data, config.batch_size, config.epochs = "drawn", str(store.directory), 8, 1
    config.inputs = {"image": input(), "report": input()}
    config.views = {"image": view("resized"), "report": view("tokens", modality="report")}
    config.encoders = {
        "image": encoder("cnn", channels=(3, 3), **({"pooling": "attention", "pooling_heads": 1} if pooled else {})),
        "report": encoder("text_embedding", features=3),
    }
    names = ("image", "report", *(("image.local", "report.local") if aligned else ()))
    config.projectors = {name: projector("identity") for name in names}
    terms = [term("clip", between=("image", "report"))]
    terms += [term("local_alignment", between=("image.local", "report.local"), normalise="none")] if aligned else []
    config.objective = tuple(terms)
    config.optimizer, config.schedule = optimizer("adam_l2"), schedule("warmup_cosine", warmup_epochs=0)
    return Run.begin(folder, config, store, Inputs.fit(config.inputs, store))


def knowing(run: Run) -> Model:
    """Return the model of a run whose regions are the colours of their pixels, and whose words name colours."""
    model = run.untrained_model()
    for layer in model.encoders["image"].convs:
        kernel = np.zeros(layer.kernel.shape, np.float32)
        kernel[1, 1] = np.eye(3)
        layer.kernel[...] = kernel
    table = np.zeros(model.encoders["report"].table.shape, np.float32)
    for index, colour in enumerate(COLOURS):
        table[WORDS.index(colour), index] = 1
    model.encoders["report"].table[...] = table
    for layers in model.heads.values():
        align: Any = layers["align"]
        for layer, scale in ((align.key, 5.0), (align.value, 1.0), (align.out, 1.0)):
            layer.kernel[...] = scale * np.eye(3, dtype=np.float32)
    return model
