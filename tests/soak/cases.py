"""The commands that the soak kills: what each is given, what it is told, and what a reader accepts in between."""

import dataclasses
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

SEED = 0
LEGACY = Path(__file__).parents[1] / "legacy" / "v0.1.0.tar.gz"
TINY = (
    "--config.batch_size=16", "--config.batch_norm.group_size=8", "--config.encoders.image.channels=(4, 8)",
    "--config.encoders.table.hidden=16", "--config.encoders.table.features=8",
    "--config.projectors.image.hidden=8", "--config.projectors.table.hidden=8",
)  # fmt: skip
PREPARE = (
    "prepare", "--table", "../given/raw/ads.csv", "--images", "../given/raw/photos", "--image-column", "file",
    "--label", "model", "--out", "store",
)  # fmt: skip
# Every second step is saved and the checkpoint before is removed, so most moments lie in a save or an eviction.
TRAINING = (
    "pretrain", "--config", "digits_mmcl", "--config.data=../given/store", *TINY, "--config.epochs=4",
    "--config.schedule.warmup_epochs=0", "--config.log_every=1", "--config.checkpoint_every=2",
    "--config.keep_checkpoints=1", "--config.validation.epochs=2", "--config.monitor.epochs=None",
)  # fmt: skip
RUN = ("--run", "../given/run")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A command that is killed.

    Attributes:
      words: the words of each of its processes behind `mmcl`; they run in the folder `work`, beside `given`.
      needs: what `given` must hold: "raw", "store", "run", "legacy".
      grows: names of files that a stopped command leaves shorter or older than they will be, as it should.
      before: puts what the command changes into `work`.
      finished: what the command says, with status 2, where it is complete already.
    """

    words: tuple[tuple[str, ...], ...]
    needs: tuple[str, ...] = ("raw", "store", "run")
    grows: tuple[str, ...] = ()
    before: Callable[[Path, Path], None] = lambda given, work: None
    finished: str = ""


def _old(given: Path, work: Path) -> None:
    for name in ("store", "run"):
        shutil.copytree(given / "legacy" / name, work / name)


_RUN_GROWS = ("run/config.json", "run/metrics.jsonl", "run/status.json", "run/times.json", "run/checkpoints/*")
CASES = {
    "prepare": Case(words=((*PREPARE, "--workers", "1"),), needs=("raw",), finished="store exists already"),
    "workers": Case(words=((*PREPARE, "--workers", "2"),), needs=("raw",), finished="store exists already"),
    "pretrain": Case(words=((*TRAINING, "--workdir", "run"),), needs=("raw", "store"), grows=_RUN_GROWS),
    "processes": Case(
        words=((*TRAINING, "--workdir", "run", "--distributed"),) * 2, needs=("raw", "store"), grows=_RUN_GROWS
    ),
    "evaluate": Case(
        words=(
            ("evaluate", *RUN, "--protocol", "probe,finetune,knn", "--per-class", "5", "--max-epochs", "3", "--seeds",
             "1", "--learning-rates", "0.01", "--out", "scores.json", "--keep", "heads"),
        ),
        grows=("scores.json",),
    ),
    "embed": Case(words=(("embed", *RUN, "--store", "../given/store", "--out", "rows.parquet"),)),
    "export": Case(words=(("export", *RUN, "--format", "safetensors", "--out", "release"),)),
    "report": Case(words=(("report", *RUN, "--out", "report.html"),)),
    "explain": Case(
        words=(("explain", *RUN, "--method", "integrated_gradients,ablation", "--rows", "16", "--out", "explained"),)
    ),
    "reproduce": Case(
        words=(
            ("reproduce", "mmcl/table1", "--data", "../given/store", "--label", "model", "--out", "tables", "--seeds",
             "1", "--methods", "simclr", "--epochs", "2", "--draws", "1", "--max-epochs", "2", "--learning-rates",
             "0.01", *TINY),
        ),
        grows=("tables/runs/*", "tables/claims/*"),  # claims are the locks of pieces of the work
        needs=("raw", "store"),
    ),
    "upgrade": Case(words=(("upgrade", "store"),), needs=("legacy",), grows=("store/*",), before=_old),
    "upgrade-run": Case(words=(("upgrade", "run"),), needs=("legacy",), grows=("run/*",), before=_old),
    "compile": Case(words=(("compile", *TRAINING[1:]),), needs=("raw", "store")),
}  # fmt: skip


def make_raw(folder: Path) -> None:
    """Write a table of mixed types and 160 images in three chunks of decoding."""
    rng = np.random.default_rng(SEED)
    (folder / "photos").mkdir(parents=True)
    for number in range(160):
        Image.fromarray(rng.integers(0, 255, (12, 10, 3), np.uint8)).save(folder / "photos" / f"{number}.png")
    pl.DataFrame(
        {
            "file": [f"{number}.png" for number in range(160)],
            "price": rng.normal(10_000, 3_000, 160),
            "seats": rng.integers(2, 8, 160),
            "gearbox": rng.choice(["manual", "automatic"], 160),
            "model": [f"m{number % 4}" for number in range(160)],
        }
    ).write_csv(folder / "ads.csv")


def make_legacy(folder: Path) -> None:
    """Unpack the store and the run of version 0.1.0."""
    with tarfile.open(LEGACY) as archive:
        archive.extractall(folder, filter="data")
