"""Draw a small data set of any modalities, and take it from raw files to a score.

    python examples/modalities.py vectors OUT      an image and three vectors, some of them missing
    python examples/modalities.py two_views OUT    two views of one image as two modalities
    python examples/modalities.py volumes OUT      two volumes
    python examples/modalities.py report OUT       an image and a text
    python examples/modalities.py masks OUT        an image with masks, segmented
    python examples/modalities.py fusion OUT       an image and a vector, fused by attention

Every example draws its class (one of four quarters) and shows it in each modality, with noise. The commands that are
run are printed, and can be typed: `OUT/CASE/request.json` is what `mmcl prepare` is given, `OUT/CASE/config.py` what
`mmcl pretrain` is given.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from PIL import Image

from mmcl_jax.cli.main import main as mmcl

SIDE = 16
WORDS = (("upper", "left"), ("upper", "right"), ("lower", "left"), ("lower", "right"))


def quarter(code: int, rng: np.random.Generator, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Return a grey picture `[side, side]` with a bright disc in one quarter, and the disc as a mask of 0 and 1."""
    half = side // 2
    row, column = (np.array(divmod(code, 2)) + 0.5) * half + rng.uniform(-1, 1, 2)
    y, x = np.mgrid[:side, :side]
    disc = (y - row) ** 2 + (x - column) ** 2 < (half / 2.5) ** 2
    picture = rng.normal(70, 25, (side, side)) + 110 * disc
    return picture.clip(0, 255).astype(np.uint8), disc.astype(np.uint8)


def write_images(folder: Path, classes: np.ndarray, rng: np.random.Generator) -> None:
    """Write `KEY.png` of every example, and its mask to `masks/KEY.png` beside the folder."""
    masks = folder.with_name("masks")
    for made in (folder, masks):
        made.mkdir(parents=True)
    for key, code in enumerate(classes):
        picture, disc = quarter(int(code), rng)
        Image.fromarray(picture).save(folder / f"p{key}.png")
        Image.fromarray(disc).save(masks / f"p{key}.png")


def write_vectors(folder: Path, classes: np.ndarray, rng: np.random.Generator) -> None:
    """Write three matrices with a key column; of each, another fifth of the examples is missing."""
    for number, width in enumerate((6, 9, 12)):
        weights = rng.normal(size=(4, width))
        values = weights[classes] + rng.normal(0, 0.7, (len(classes), width))
        kept = np.flatnonzero(np.arange(len(classes)) % 5 != number)
        columns = {f"s{place}": values[kept, place] for place in range(width)}
        pl.DataFrame({"key": [f"p{key}" for key in kept], **columns}).write_csv(folder / f"scores_{number}.csv")


def write_volumes(folder: Path, classes: np.ndarray, rng: np.random.Generator) -> None:
    """Write two volumes `[8, 16, 16]` float32 of every example: the disc is bright in one and dark in the other."""
    for name, sign in (("t1", 1), ("t2", -1)):
        (folder / name).mkdir()
        for key, code in enumerate(classes):
            _, disc = quarter(int(code), rng)
            volume = np.repeat(sign * 2.0 * disc[None], 8, axis=0) + rng.normal(0, 0.5, (8, SIDE, SIDE))
            np.save(folder / name / f"p{key}.npy", volume.astype(np.float32))


def write_table(folder: Path, classes: np.ndarray, rng: np.random.Generator) -> None:
    """Write the table of the examples: key, class and a report of two sentences."""
    rows: dict[str, list[str]] = {"key": [], "quarter": [], "report": []}
    for key, code in enumerate(classes):
        upper, left = WORDS[code]
        rows["key"].append(f"p{key}")
        rows["quarter"].append(f"{upper} {left}")
        noise = rng.choice(["seen", "found", "noted"])
        rows["report"].append(f"A disc is {noise} in the {upper} half. It lies to the {left}.")
    pl.DataFrame(rows).write_csv(folder / "people.csv")


_LABEL = {"quarter": {"kind": "class", "file": "people.csv", "column": "quarter"}}
_IMAGE = {"kind": "image", "folder": "images", "files": "{key}.png"}
_HEAD = """from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view


def get_config():
    config = experiment()
    config.batch_size, config.epochs, config.batch_norm.group_size = 64, 12, 16
    config.schedule = schedule("warmup_cosine", learning_rate=3e-3, warmup_epochs=1)
    config.monitor.epochs = None
"""
_AUGMENT = 'view("augment", crop_scale=(0.8, 1.0), flip=0.0, jitter=0.0, grayscale=0.0, blur=0.0'

# Of every case: the request's entries and targets, the lines of the config, and what is evaluated.
CASES: dict[str, dict[str, Any]] = {
    "vectors": {
        "entries": {
            "image": _IMAGE,
            **{f"scores{n}": {"kind": "vector", "file": f"scores_{n}.csv", "key": "key"} for n in range(3)},
        },
        "targets": _LABEL,
        "config": f"""
    others = ("scores0", "scores1", "scores2")
    config.inputs = {{"image": input(), **{{name: input() for name in others}}}}
    config.views = {{"image": {_AUGMENT}), **{{name: view("vector", modality=name) for name in others}}}}
    config.encoders = {{"image": encoder("cnn", channels=(16, 32))}}
    config.encoders.update({{name: encoder("vector_mlp", hidden=32, features=32) for name in others}})
    config.projectors = {{name: projector("mlp", hidden=32, out=16) for name in ("image", *others)}}
    config.objective = tuple(term("clip", between=("image", name)) for name in others)
""",
        "evaluate": ["--input", "image,scores0+scores1,image+scores2", "--protocol", "probe,knn"],
    },
    "two_views": {
        "entries": {"image": _IMAGE},
        "targets": _LABEL,
        "config": f"""
    config.inputs = {{"near": input(of="image"), "far": input(of="image")}}
    config.views = {{
        "near": {_AUGMENT}, modality="near"),
        "far": view("resized", modality="far", size=(8, 8)),
    }}
    config.encoders = {{name: encoder("cnn", channels=(16, 32)) for name in ("near", "far")}}
    config.projectors = {{name: projector("mlp", hidden=32, out=16) for name in ("near", "far")}}
    config.objective = (term("clip", between=("near", "far")),)
""",
        "evaluate": ["--input", "near,far,near+far", "--protocol", "probe"],
    },
    "volumes": {
        "entries": {
            name: {"kind": "volume", "folder": name, "files": "{key}.npy", "bits": 16} for name in ("t1", "t2")
        },
        "targets": _LABEL,
        "config": """
    config.inputs = {"t1": input(), "t2": input()}
    config.views = {name: view("augment_volume", modality=name) for name in ("t1", "t2")}
    config.encoders = {name: encoder("cnn3d", channels=(8, 16)) for name in ("t1", "t2")}
    config.projectors = {name: projector("mlp", hidden=32, out=16) for name in ("t1", "t2")}
    config.objective = (term("clip", between=("t1", "t2")),)
""",
        "evaluate": ["--input", "t1,t1+t2", "--protocol", "probe"],
    },
    "report": {
        "entries": {"image": _IMAGE, "report": {"kind": "text", "file": "people.csv", "column": "report"}},
        "targets": _LABEL,
        "config": f"""
    config.inputs = {{"image": input(), "report": input()}}
    config.views = {{"image": {_AUGMENT}), "report": view("tokens", modality="report")}}
    config.encoders = {{"image": encoder("cnn", channels=(16, 32)), "report": encoder("text_embedding")}}
    config.projectors = {{name: projector("mlp", hidden=32, out=16) for name in ("image", "report")}}
    config.objective = (term("clip", between=("image", "report")),)
""",
        "evaluate": ["--input", "image", "--protocol", "probe"],
    },
    "masks": {
        "entries": {"image": _IMAGE},
        "targets": {**_LABEL, "disc": {"kind": "mask", "of": "image", "folder": "masks", "files": "{key}.png"}},
        "config": f"""
    config.inputs = {{"image": input()}}
    config.views = {{"image_1": {_AUGMENT}), "image_2": {_AUGMENT})}}
    config.encoders = {{"image": encoder("cnn", channels=(16, 32))}}
    config.projectors = {{"image": projector("mlp", hidden=32, out=16)}}
    config.objective = (term("nt_xent"),)
""",
        "evaluate": ["--input", "image", "--protocol", "probe", "--label", "disc"],
    },
    "fusion": {
        "entries": {"image": _IMAGE, "scores0": {"kind": "vector", "file": "scores_0.csv", "key": "key"}},
        "targets": _LABEL,
        "config": f"""
    config.inputs = {{"image": input(), "scores0": input()}}
    config.views = {{"image": {_AUGMENT}), "scores0": view("vector", modality="scores0")}}
    config.views.fused = view("fused", of=("image.local", "scores0"))
    config.encoders = {{"image": encoder("cnn", channels=(16, 32))}}
    config.encoders.scores0 = encoder("vector_mlp", hidden=32, features=32)
    config.encoders.fusion = encoder("cross_attention", width=32, heads=2, blocks=1)
    config.projectors = {{name: projector("mlp", hidden=32, out=16) for name in ("image", "scores0")}}
    config.objective = (
        term("clip", between=("image", "scores0")),
        term("matching", between=("image", "scores0", "fused:none")),
    )
""",
        "evaluate": ["--input", "image,fusion,image+fusion", "--protocol", "probe,knn"],
    },
}


def write_case(case: str, folder: Path, *, rows: int, cohort: str = "outer", seed: int = 0) -> None:
    """Write the raw files, the request and the config of a case into a new folder."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 4, rows)
    folder.mkdir(parents=True)
    writers: dict[str, Callable[[Path, np.ndarray, np.random.Generator], None]] = {
        "vectors": write_vectors,
        "volumes": write_volumes,
        "fusion": write_vectors,
    }
    write_table(folder, classes, rng)
    if case != "volumes":
        write_images(folder / "images", classes, rng)
    if case in writers:
        writers[case](folder, classes, rng)
    said = CASES[case]
    request: dict[str, Any] = {"key_column": "key", "cohort": cohort, "split": [0.6, 0.2, 0.2]}
    for part in ("entries", "targets"):  # paths in a request are relative to the folder in which the command runs
        request[part] = {
            name: {key: str(folder / value) if key in ("file", "folder") else value for key, value in one.items()}
            for name, one in said[part].items()
        }
    (folder / "request.json").write_text(json.dumps(request, indent=2) + "\n")
    (folder / "config.py").write_text(f'"""{case}"""\n\n{_HEAD}{said["config"]}    return config\n')


def run(case: str, out: Path, *, rows: int = 400, cohort: str = "outer", options: tuple[str, ...] = ()) -> Path:
    """Take a case from raw files to a score; return the file of the scores."""
    folder = out / case
    write_case(case, folder, rows=rows, cohort=cohort)
    store, work = folder / "store", folder / "run"
    for command in (
        ["prepare", "--request", folder / "request.json", "--out", store],
        ["pretrain", "--config", folder / "config.py", f"--config.data={store}", *options, "--workdir", work],
        ["evaluate", "--run", work, *CASES[case]["evaluate"], "--out", folder / "scores.json"],
    ):
        words = [str(word) for word in command]
        print("$ mmcl " + shlex.join(words), flush=True)
        status = mmcl(words)
        if status:
            sys.exit(status)
    return folder / "scores.json"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=CASES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--cohort", choices=("outer", "inner"), default="outer")
    arguments = parser.parse_args()
    run(arguments.case, arguments.out, rows=arguments.rows, cohort=arguments.cohort)
