"""`mj.evaluate`: what runs are worth."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from mmcl_jax.api.given import AnyPath, command_of, path_of, several
from mmcl_jax.api.scores import Scores
from mmcl_jax.bucket.border import addressed
from mmcl_jax.compilation import use_cache
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.evaluation.protocols.evaluate import evaluate_runs
from mmcl_jax.evaluation.protocols.kept import heads_of
from mmcl_jax.evaluation.protocols.options import EvaluationOptions
from mmcl_jax.evaluation.protocols.tuning import Tuning
from mmcl_jax.evaluation.results.file import ResultsFile
from mmcl_jax.evaluation.results.leaderboard import leaderboard
from mmcl_jax.evaluation.results.provenance import provenance
from mmcl_jax.evaluation.sources.budgets import Budget
from mmcl_jax.evaluation.sources.source import BASELINES, sources
from mmcl_jax.progress import discard
from mmcl_jax.targets import check_file, check_folder
from mmcl_jax.text import called, visible
from mmcl_jax.training.processes import begin, check_same, is_primary
from mmcl_jax.training.runs.run import Checkpoint, Run

_DEFAULT = EvaluationOptions()


@addressed(reads=("store",), writes=("run", "out", "keep"))
def evaluate(
    run: Run | AnyPath | Sequence[Run | AnyPath],
    *,
    checkpoint: Checkpoint | None = None,
    store: Store | AnyPath | None = None,
    allow_overlap: bool = _DEFAULT.allow_overlap,
    protocol: str | Iterable[str] = _DEFAULT.protocols,
    input: str | Iterable[str] = _DEFAULT.inputs,
    fraction: float | Iterable[float] | None = None,
    first: bool = False,
    per_class: int | Iterable[int] = (),
    subset: str | Iterable[str] = (),
    label: str | Iterable[str] | None = None,
    task: str | None = _DEFAULT.task,
    seeds: int = _DEFAULT.draws,
    baselines: str | Iterable[str] = BASELINES,
    learning_rates: float | Iterable[float] | None = None,
    max_epochs: int | None = _DEFAULT.max_epochs,
    head: str | None = _DEFAULT.tuning.head,
    anchors: Literal["released", "corrected"] = _DEFAULT.tuning.anchors,
    batch_size: int | None = _DEFAULT.tuning.batch_size,
    accumulate: int = _DEFAULT.tuning.accumulate,
    weight_decay: float = _DEFAULT.tuning.weight_decay,
    patience: int = _DEFAULT.tuning.patience,
    select: Literal["metric", "loss"] = _DEFAULT.tuning.select,
    augment: Literal["run", "flip", "none"] = _DEFAULT.tuning.augment,
    frozen_epochs: int = _DEFAULT.tuning.frozen_epochs,
    frozen_steps: int = _DEFAULT.tuning.frozen_steps,
    frozen_rate: float = _DEFAULT.tuning.frozen_rate,
    schedule: str = _DEFAULT.schedule,
    cycle_momentum: bool | None = _DEFAULT.cycle_momentum,
    trials: int | None = _DEFAULT.trials,
    optimizer: Literal["adam", "radam"] = _DEFAULT.optimizer,
    balanced: bool = _DEFAULT.balanced,
    normalisation: Literal["frozen", "adapts"] = _DEFAULT.tuning.normalisation,
    missing: float | Iterable[float] = _DEFAULT.missing,
    missing_by: str | Iterable[str] = _DEFAULT.missing_by,
    confounders: str | Iterable[str] = _DEFAULT.confounders,
    out: AnyPath | None = None,
    keep: bool | AnyPath = False,
    again: bool = False,
    distributed: bool = False,
) -> Scores:
    """Evaluate runs, and the baselines beside them: probes, fine-tuning, nearest neighbours and retrieval.

    The same from the command line: `mmcl evaluate --run RUN`, with the same options. Scores that the results file has
    already are not computed again.

    Args:
      run: one run or several, opened or their folders; those of one experiment differ by seed.
      checkpoint: of each run: "latest", "best" (the lowest validation loss) or a step; by default that of an opened
        run, and else the latest.
      store: to evaluate on; by default the one that the first run was trained on.
      allow_overlap: whether test rows may be rows that a run was trained on.
      protocol: "probe", "augmented_probe", "finetune", "unet", "knn", "logistic", "retrieval", "confounding",
        "features" or "tabpfn", or several; or one of the rivals "forest", "boosting", "mlp", "lightgbm", "catboost",
        "realmlp" and "tabm" on the columns alone.
      input: what is predicted from, such as "image" or "image+table", or several inputs.
      fraction: shares of the training labels, such as `[1, 0.1, 0.01]`.
      first: whether these shares are the first rows of the store, as LoVT takes them, in place of random ones.
      per_class: labels per class, such as `[5, 20]`.
      subset: named subsets of the store, such as "train_10".
      label: labels to predict; by default the store's first that is a class. "a+b" is one task.
      task: what the labels are, where they can be several.
      seeds: random draws of labels and starts of training, per run and budget.
      baselines: to evaluate too; () for none.
      learning_rates: to choose from on validation.
      max_epochs: the longest training.
      head: of a mask: "linear_segmentation", the default of "probe", or "unet", the default of "finetune"; of boxes:
        "yolo".
      anchors: of "yolo": "released", as LoVT has them, or "corrected".
      batch_size: rows per step of "finetune", "augmented_probe" and "unet"; by default 512, or 16 for masks.
      accumulate: slices of such a batch whose gradients are added; batch normalisation sees a slice.
      weight_decay: L2 in the gradient of these protocols, as in PyTorch's Adam.
      patience: epochs without improvement after which they end; 0 for never.
      select: whether the "metric" or the "loss" on validation chooses epoch and rate.
      augment: of training images: "run", as the run augments them; "flip", at most mirrored; "none".
      frozen_epochs: first epochs of "finetune" in which the encoder of a run is not trained.
      frozen_steps: first batches in which it is not trained, in place of epochs.
      frozen_rate: the learning rate of these epochs or batches.
      schedule: of the learning rate: "constant"; "plateau", halved while the loss on validation does not improve, or
        "metric_plateau" while the metric does not; or "one_cycle" over all of `max_epochs` (100 by default), up to the
        maximum that `learning_rates` give (0.01 by default).
      cycle_momentum: whether the momentum moves inversely in "one_cycle"; by default it does, as in PyTorch.
      trials: settings of each rival to choose from, the library's defaults first, by default 6; of "logistic" 32.
      optimizer: of heads: "adam", or "radam", as of Fedorov et al.
      balanced: whether heads are trained on rows that are drawn so that every class is as frequent.
      normalisation: of the encoders of "augmented_probe": "frozen", or "adapts", by the batch, as in released code.
      missing: shares of the table to hide before heads are trained and tested, such as `[0, 0.3, 0.5]`.
      missing_by: what is hidden: single "cells", whole "columns", the "most_important" or "least_important" columns
        first, or cells by their "value" or by the row's "label"; or several strategies.
      confounders: covariates of "confounding", which is then among the protocols: columns of tables, features of
        vectors, or whole entries of the store; by default its entry "covariates".
      out: the results file, which is added to; by default `evaluation.json` in the folder of a single run.
      keep: True keeps the heads that are trained in `heads` in the folder of each run, a folder keeps them there;
        `load_head` reads them.
      again: whether scores that the results file has are computed again.
      distributed: this process is one of several of a cluster's job, which divide the scores among them; the first one
        writes the results file, and all return the same scores.

    Returns:
      The scores; they print as tables, and `Scores.to_frame()` is a polars data frame with a row per score.

    Raises:
      UserError: the store lacks the label, rows or columns; a name is unknown; or several runs have no `out`.

    Example:
      >>> scores = mj.evaluate("runs/ads", protocol=["probe", "knn"], per_class=[5, 20])  # doctest: +SKIP
      >>> scores.to_frame().group_by("method", "budget").mean()  # doctest: +SKIP
    """
    use_cache()
    arguments = dict(locals())
    begin(distributed=distributed)
    given = [run] if isinstance(run, str | Path | Run) or not isinstance(run, Sequence) else list(run)
    check(len(given) > 0, "--run: name at least one run.")
    runs = [one if isinstance(one, Run) else Run.open(path_of(one, "--run")) for one in given]
    if checkpoint is not None:
        runs = [one.at(checkpoint) for one in runs]
    check(out is not None or len(runs) == 1, "Say where the results of several runs go, with --out FILE.")
    file = runs[0].directory / "evaluation.json" if out is None else path_of(out, "--out")
    check_file(file, "--out")
    kept = keep if isinstance(keep, bool) else path_of(keep, "--keep")
    for one in runs if kept else ():
        check_folder(heads_of(one, kept), "--keep")
    if not isinstance(store, Store):
        store = Store.open(path_of(store, "--store")) if store is not None else runs[0].store()
    budgets = [Budget(per_class=n) for n in several(per_class)]
    check(not first or bool(several(fraction)), "--first: name the shares of rows too, such as --fraction 0.1,0.01.")
    budgets += [
        Budget(fraction=f, first=first) for f in several(fraction) or (() if budgets or several(subset) else (1.0,))
    ]
    options = EvaluationOptions(
        protocols=several(protocol),
        inputs=several(input),
        budgets=[*budgets, *(Budget(subset=name) for name in several(subset))],
        draws=seeds,
        baselines=several(baselines),
        label=None if label is None else several(label),
        task=task,
        learning_rates=None if learning_rates is None else several(learning_rates),
        max_epochs=max_epochs,
        schedule=schedule,
        cycle_momentum=cycle_momentum,
        tuning=Tuning(
            head=head,
            anchors=anchors,
            batch_size=batch_size,
            accumulate=accumulate,
            weight_decay=weight_decay,
            patience=patience,
            select=select,
            augment=augment,
            frozen_epochs=frozen_epochs,
            frozen_steps=frozen_steps,
            frozen_rate=frozen_rate,
            normalisation=normalisation,
        ),
        trials=trials,
        optimizer=optimizer,
        balanced=balanced,
        allow_overlap=allow_overlap,
        keep=kept,
        missing=several(missing),
        missing_by=several(missing_by),
        confounders=several(confounders),
    )
    steps = {called(one.directory): one.step() for one in runs}
    results = ResultsFile(
        file,
        store=store.fingerprint,
        sources=[source.of() for source in sources(runs, BASELINES)],
        head={**provenance(command_of(evaluate, arguments)), "runs": steps, "store": called(store.directory)},
        again=again,
    )
    check_same({"The command": command_of(evaluate, arguments), "--run": steps, "The store": store.fingerprint})
    log = print if is_primary() else discard
    for directory, step in steps.items():
        log(f"{visible(directory)}: the checkpoint of step {step}")
    scores = evaluate_runs(runs, store, options, records=results, log=log)
    note = results.finish() if is_primary() else ""
    return Scores(tuple(scores), file, note, beside=tuple(leaderboard(scores, store)))
