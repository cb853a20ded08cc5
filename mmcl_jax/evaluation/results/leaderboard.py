"""One table of our scores and the published scores of a benchmark, on the same split."""

from collections.abc import Sequence

import numpy as np

from mmcl_jax.data.store import Store
from mmcl_jax.datasets.multabench.published import published, split_of
from mmcl_jax.evaluation.results.scores import Score
from mmcl_jax.evaluation.results.summary import NAMES, Grid
from mmcl_jax.page.wording import LOWER_IS_BETTER
from mmcl_jax.text import visible

_WITH_ALL = "all"


def leaderboard(scores: Sequence[Score], store: Store) -> list[Grid]:
    """Return a table of our scores with all labels beside the published scores of MulTaBench, best first.

    Only scores on the benchmark's target count. The table is left out for a store of another data set, and where no
    protocol measured the benchmark's metric. Without the package `multabench`, the table has our scores alone and
    says how to add the others.
    """
    made = split_of(store)
    if made is None:
        return []
    others = published(store)
    target = store.schema.labels[0]
    ours = "rmse" if not target.coded else "auroc" if len(target.categories) == 2 else "log_loss"
    metric = others[0].metric if others else ours
    measured: dict[tuple[str, str, str], list[float]] = {}
    for score in scores:
        if score.budget == _WITH_ALL and score.label == target.name and metric in score.metrics:
            measured.setdefault((score.method, score.protocol, score.input), []).append(score.metrics[metric])
    if not measured:
        return []
    rows = [
        (visible(method), f"{protocol} on {input}", float(np.mean(v)))
        for (method, protocol, input), v in measured.items()
    ]
    rows += [(one.model, "published", one.value) for one in others or ()]
    rows.sort(key=lambda row: row[2] if metric in LOWER_IS_BETTER else -row[2])
    table, split, size = made
    notes = {
        None: "Install multabench to see the published scores here, too.",
        0: f"multabench has no published scores of this data set in the size {size}.",
    }
    return [
        Grid(
            title=f"MulTaBench, {visible(table)}, split {split}: test {NAMES.get(metric, metric.replace('_', ' '))}",
            head=["method", "how", "value"],
            rows=[[method, how, f"{value:.4f}"] for method, how, value in rows],
            labels=2,
            note=notes.get(len(others) if others is not None else None, ""),
        )
    ]
