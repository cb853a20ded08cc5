"""How every small experiment starts: its parameters, its views and its first losses, as a few numbers.

Usage: python -m tests.training.first_steps [NAME ...], to record them anew after a change that was meant to move them.
"""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

import tests.conftest  # noqa: F401  first: it sets the compiler's flags
from mmcl_jax.config import experiments, load
from mmcl_jax.data.store import Store
from mmcl_jax.datasets import digits
from mmcl_jax.prepare.make import prepare
from mmcl_jax.training.build import build_experiment
from mmcl_jax.training.step.train_step import make_step
from mmcl_jax.views import apply_views
from tests.training.walk import begin

GOLDEN = Path(__file__).parent / "golden" / "first_steps.json"
NAMES = [name for name in experiments() if name.startswith("digits_") or name.endswith(":digits")]
STEPS = 20
_SMALL = ["batch_size=64", "epochs=3", "batch_norm.group_size=8"]
_PARTS = {
    "cnn": ["channels=(4,8)"],
    "cross_attention": ["width=16", "heads=2", "blocks=1"],
    "table_mlp": ["hidden=16", "features=8"],
    "table_transformer": ["width=16", "heads=2", "blocks=1"],
    "resnet1d_cbam": ["channels=4", "depths=(1,)"],
}


def small_config(name: str, store: Store) -> ConfigDict:
    """Return the experiment with tiny encoders; all else that it says stays."""
    config = load(name)
    parts = {modality: _PARTS[spec.name] for modality, spec in config.encoders.items()}
    sizes = [*_SMALL, *(f"encoders.{modality}.{size}" for modality, part in parts.items() for size in part)]
    sizes += ["schedule.warmup_epochs=1"] if "warmup_epochs" in config.schedule else []
    # Attention takes memory and time for all pairs of columns, of which the digits have 129.
    attends = any(spec.name == "table_transformer" for spec in config.encoders.values())
    sizes += ["inputs.table.columns=morphometric"] if attends else []
    return load(name, [f"data={store.directory}", *sizes])


def first_steps(name: str, store: Store) -> dict[str, Any]:
    """Return digests of the initial parameters and of the first batch's views, and the losses of 20 steps.

    All on one device, at the optimisation level of the tests.
    """
    experiment = build_experiment(small_config(name, store), store, jax.devices()[:1])
    state, batches, constants = begin(experiment, STEPS)
    step = make_step(experiment)

    def seen_step(state: Any, batch: Any, constants: Any) -> Any:
        """The step and the views that it draws: one program, since these take long to compile."""
        views = apply_views(experiment.views, batch, step=state.step, **constants)
        return *step(state, batch, constants), {name: seen.values for name, seen in views.items()}

    compiled = jax.jit(seen_step)
    parameters, views, losses = digests(state.params), None, []
    for batch in batches:
        state, metrics, seen = compiled(state, batch, constants)
        views = views or digests(seen)
        losses.append(round(float(metrics["loss"]), 6))
    return {"parameters": parameters, "views": views, "losses": losses}


def digests(arrays: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return for every array its size, its mean square and its product with a fixed random vector.

    These tell arrays apart as a hash does, and forgive the last bit, in which processors differ.
    """
    found = {}
    for path, array in jax.tree_util.tree_leaves_with_path(arrays):
        values = np.asarray(array, np.float64).ravel()
        weights = np.random.default_rng(0).normal(size=values.size) / max(values.size, 1) ** 0.5
        found[jax.tree_util.keystr(path)] = [
            values.size,
            round(float(np.mean(values**2)), 6),
            round(float(values @ weights), 5),
        ]
    return found


def main(names: Sequence[str] = ()) -> None:
    """Record these experiments in the golden file, or all of them."""
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(digits.unpack(Path(folder) / "raw"), Path(folder) / "store")
        golden = json.loads(GOLDEN.read_text()) if names else {}
        for name in names or NAMES:
            print(name, file=sys.stderr)
            golden[name] = first_steps(name, store)
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({name: golden[name] for name in NAMES}, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
