"""The display of a run: as text, and in a notebook with its loss curves and last metrics."""

import io
import math
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from mmcl_jax.page.html import Html, element, fragment, name, table
from mmcl_jax.page.inline import picture
from mmcl_jax.text import visible

if TYPE_CHECKING:
    from mmcl_jax.training.runs.run import Run

_FIRST = ("loss", "validation/loss")


def describe_run(run: "Run") -> str:
    """Return two lines on a run: its experiment, seed and encoders, and its last metrics."""
    config, logged = run.config, run.metrics()
    encoders = ", ".join(f"{modality} {spec.name}" for modality, spec in config.encoders.items())
    head = f"{visible(run.directory)}: {visible(config.name)}, seed {config.seed}; encoders: {encoders}"
    if not logged:
        return f"{head}\n  nothing is logged yet"
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in _metrics(logged[-1]).items())
    return f"{head}\n  step {int(logged[-1]['step'])} of {config.epochs} epochs: {numbers}"


def run_html(run: "Run") -> Html:
    """Return the run as HTML; texts of its config are escaped."""
    config, logged = run.config, run.metrics()
    head = element("p", element("b", "Run "), name(run.directory), f": {config.name}, seed {config.seed}")
    if not logged:
        return fragment(head, element("p", "Nothing is logged yet."))
    rows = [(key, f"{value:.4g}") for key, value in _metrics(logged[-1]).items()]
    caption = f"Metrics at step {int(logged[-1]['step'])}"
    curves = loss_curves(run)
    return fragment(
        head,
        picture(curves, "loss by step", style="max-width:100%") if curves else None,
        table(caption, ["metric", "value"], rows, numeric={1}, captioned=True, narrow=True),
    )


def loss_curves(run: "Run") -> bytes | None:
    """Return a plot of the losses by step as a PNG file; None if no finite loss is logged."""
    logged = run.metrics()
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    for key in _FIRST:
        points = [(line["step"], line[key]) for line in logged if math.isfinite(line.get(key, math.nan))]
        if points:
            axes.plot(*zip(*points, strict=True), label=key, marker="o" if len(points) == 1 else None)
    if not axes.lines:
        return None
    axes.set_xlabel("Step")
    axes.set_ylabel("Loss")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return file.getvalue()


def _metrics(line: dict[str, float]) -> dict[str, float]:
    """Return the metrics of a logged step, losses first, without "step" and "seconds"."""
    names = [*(key for key in _FIRST if key in line), *sorted(line.keys() - {*_FIRST, "step", "seconds"})]
    return {key: line[key] for key in names}
