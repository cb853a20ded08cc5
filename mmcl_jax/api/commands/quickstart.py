"""The main job on real data, by the same steps that own data takes: prepare, pretrain, evaluate."""

import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from mmcl_jax.api.commands.report import Report, report
from mmcl_jax.api.given import AnyPath, path_of
from mmcl_jax.api.scores import Scores
from mmcl_jax.border import to_json
from mmcl_jax.compilation import use_cache
from mmcl_jax.config import load
from mmcl_jax.data.store import Store
from mmcl_jax.datasets import digits
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.results.file import ResultsFile
from mmcl_jax.evaluation.results.plot import plot_scores
from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import ScoreCell, budgets_of, grids, paired, repeats_of, show, summarise
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.source import BASELINES, sources
from mmcl_jax.files import write_text, writing
from mmcl_jax.lock import locked
from mmcl_jax.prepare.make import prepare
from mmcl_jax.targets import check_folder
from mmcl_jax.text import visible
from mmcl_jax.training.loop import pretrain
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.runs.run import Run

EXPERIMENTS = ("digits_mmcl", "digits_simclr")
BUDGETS = (Budget(per_class=5), Budget(per_class=20), Budget())
DRAWS = 3


def quickstart(out: AnyPath = Path("mmcl_quickstart"), *, seeds: int = 3, epochs: int = 60) -> Scores:
    """Prepare, pretrain, evaluate and report on the small real data set that ships with the package.

    The same from the command line: `mmcl quickstart`.

    Args:
      out: the folder for everything that is written; a call that was stopped continues there.
      seeds: pretrainings of each method.
      epochs: of each pretraining.

    Returns:
      The scores; if a training was asked to stop, there are none, and they are not `finished`.

    Raises:
      UserError: `out` holds something else.
    """
    folder = path_of(out, "--out")
    check_folder(folder, "--out")
    with locked(folder / "lock.json", what=f"works in {folder}"), writing(folder):
        scores = _quickstart(folder, seeds=seeds, epochs=epochs)
    return Scores(tuple(scores), folder / "results.json" if scores else None, finished=bool(scores))


def _quickstart(out: Path, *, seeds: int, epochs: int) -> list[Score]:
    """Run the main job and write everything under `out`; started again, continue it.

    Each method is pretrained once per seed (0, 1, ...), on the same budget; each run is probed with `DRAWS` draws of
    labels per budget. All settings were fixed before results were looked at, and none was tuned for either method.

    Raises:
      UserError: `out` holds something else.
    """
    began = time.monotonic()
    console = Console()
    use_cache()  # seeds share one compiled program per method

    _heading(console, "1/4  Prepare", "2,000 scanned digits: 16 x 15 images, a table of 129 features, 10 classes")
    if not (out / "store").exists():
        prepare(digits.unpack(out / "raw"), out / "store", progress=True)
    store = Store.open(out / "store")
    console.print(store.describe(), highlight=False, markup=False, emoji=False, soft_wrap=True)

    _heading(
        console, "2/4  Pretrain", f"{' and '.join(EXPERIMENTS)}, {seeds} seeds, {epochs} epochs; no labels are used"
    )
    runs = []
    for seed in range(seeds):
        for name in EXPERIMENTS:
            length = [f"epochs={epochs}", f"schedule.warmup_epochs={epochs // 10}"]
            config = load(name, [f"data={store.directory}", f"seed={seed}", *length])
            result = pretrain(config, out / "runs" / f"{name}-{seed}")
            console.print(result.describe(), highlight=False, markup=False, emoji=False, soft_wrap=True)
            if not result.finished:
                return []
            runs.append(result.run)

    _heading(
        console,
        "3/4  Evaluate",
        "linear probe on frozen features of the images alone; the table is not needed any more",
    )
    records = ResultsFile(
        out / "evaluation.json",
        store=store.fingerprint,
        sources=[source.of() for source in sources(runs, BASELINES)],
        head={**provenance("mmcl quickstart"), "store": str(store.directory)},
    )
    scores = evaluate_runs(runs, store, EvaluationOptions(budgets=BUDGETS, draws=DRAWS, keep=True), records=records)
    show(grids(scores), console)
    for line in _differences(scores):
        console.print(line, highlight=False, soft_wrap=True)
    plot_scores(scores, out / "curves.png", title="Linear probe on images of digits, by labels used")
    _heading(console, "4/4  Report", "one page: results, curves, a map of the embeddings, pictures, data and configs")
    page = report(runs, out=out / "report.html", results=out / "evaluation.json")
    seconds = time.monotonic() - began
    _write_results(out / "results.json", runs, scores, seconds)
    console.print(f"\n{_closing(out, runs, page, seconds)}", highlight=False, markup=False, soft_wrap=True)
    return scores


def _heading(console: Console, title: str, text: str) -> None:
    console.print(f"\n[bold]{title}[/bold]  {text}", highlight=False, soft_wrap=True)


def _differences(scores: Sequence[Score]) -> list[str]:
    """Return multimodal minus image-only pretraining, paired by seed."""
    lines = []
    for budget in budgets_of(scores):
        cell, wins = paired(scores, *EXPERIMENTS, budget)
        lines.append(
            f"{EXPERIMENTS[0]} - {EXPERIMENTS[1]}, {budget}: {cell.mean:+.3f}"
            + (f" ± {cell.sd:.3f} (95 % of the mean: {_interval(cell)})" if cell.repeats > 1 else "")
            + f", above 0 at {wins} of {cell.repeats} {repeats_of(scores)}s"
        )
    return lines


def _interval(cell: ScoreCell) -> str:
    return "{:+.3f} to {:+.3f}".format(*cell.interval)


def _write_results(path: Path, runs: Sequence[Run], scores: Sequence[Score], seconds: float) -> None:
    summary = {
        metric: {
            method: {
                budget: {"mean": cell.mean, "sd": cell.sd if cell.repeats > 1 else None} for budget, cell in row.items()
            }
            for method, row in summarise(scores, metric).items()
        }
        for metric in ("top1", "auroc")
    }
    results = {
        **provenance("mmcl quickstart"),
        "seconds": round(seconds, 1),
        "summary": summary,
        "scores": [score.to_json() for score in scores],
        "configs": {run.directory.name: to_plain(run.config) for run in runs},
    }
    write_text(path, to_json(results, indent=2) + "\n")


def _closing(out: Path, runs: Sequence[Run], page: Report, seconds: float) -> str:
    where = shlex.quote(str(out))
    run = shlex.quote(str(runs[0].directory))
    first, second = EXPERIMENTS
    return f"""Done in {seconds:.0f} s. Look at the report:

  {visible(page.address)}

One page, no network: {first} beside {second} with every seed, a map of the test digits that no label shaped,
which digits each model takes for alike, which it confuses, and whether the trainings were healthy.

Written to {where}:
  report.html      this page
  results.json     every score, the summary and the resolved configs
  evaluation.json  the scores, as mmcl report --results takes them
  curves.png       the table as a picture
  raw/             what you would have: digits.csv and images/
  store/           the prepared data; opens with tfds.builder_from_directory
  runs/            {len(runs)} runs: config.json, checkpoints, metrics.jsonl, TensorBoard events, probes

Next:
  mmcl evaluate --run {run} --per-class 1,10 --seeds 5
  mmcl pretrain --config digits_mmcl --config.data={where}/store --config.seed=7 --workdir {where}/runs/mine
  mmcl prepare --table ads.csv --images photos/ --image-column file --label model --out stores/ads"""
