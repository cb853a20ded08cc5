"""The prediction of several yes-or-no labels at once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.metrics import average_precision_score, roc_auc_score

from mmcl_jax.tasks.auroc import auroc_components, binary_auroc
from mmcl_jax.tasks.of_batches import mean_of_batches
from mmcl_jax.tasks.task import Details, Task, binary_log_loss, mean_vote

_METRICS = {"auroc": roc_auc_score, "average_precision": average_precision_score}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiLabel(Task):
    """The prediction of K labels that are 0 or 1, none of which excludes another: a logit each, binary cross-entropy.

    Targets are `[N, K]`, NaN where a row lacks a label, which is left out of the loss and of the metrics.

    Attributes:
      names: of the K labels.
      one_class: whether no label has rows of both classes in validation, so that the AUROC is undefined there.

    Example:
      >>> task = MultiLabel(label="findings", names=("effusion", "nodule"))
      >>> logits, targets = np.array([[2.0, -1.0], [-1.0, 3.0]]), np.array([[1.0, 0.0], [0.0, np.nan]])
      >>> task.metrics(logits, targets)["auroc_macro"]  # "nodule" has rows of one class only, and is left out
      1.0
    """

    name = "multi_label"
    shown = ("auroc_macro", "auroc_micro")
    details = Details("further metrics", ("average_precision_macro", "labels_in_macro", "auroc_micro_of_batches"))
    names: tuple[str, ...]
    one_class: bool = False

    @property
    def outputs(self) -> int:
        """A logit per label."""
        return len(self.names)

    @property
    def primary(self) -> str:
        """Return "auroc_macro", or "log_loss" if no label has rows of both classes in validation."""
        return "log_loss" if self.one_class else "auroc_macro"

    def losses(self, outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the summed binary cross-entropies, and the number of labels, of every row."""
        valid = ~jnp.isnan(targets)
        losses = optax.sigmoid_binary_cross_entropy(outputs, jnp.where(valid, targets, 0))
        return jnp.where(valid, losses, 0).sum(axis=-1), valid.sum(axis=-1, dtype=jnp.float32)

    def _score(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """Return the mean AUROC of the labels with rows of both classes, or minus the log loss."""
        if self.primary == "log_loss":
            return -self.mean_loss(outputs, targets)
        valid = ~jnp.isnan(targets)
        positive, negative = (((targets == code) & valid).any(axis=0) for code in (1, 0))
        aurocs = jax.vmap(binary_auroc, in_axes=1)(outputs, targets, valid)
        both = positive & negative
        return jnp.where(both, aurocs, 0).sum() / both.sum(dtype=jnp.float32)

    def metrics(self, outputs: np.ndarray, targets: np.ndarray, *, shares: bool = False) -> dict[str, float]:
        """Return `auroc` and `average_precision`, `_macro` and `_micro`, and of every label, such as `auroc/LABEL`.

        Macro is the mean over the labels with rows of both classes (NaN if there is none), whose number is
        `labels_in_macro`; micro treats all labels of all rows as one problem. `auroc_micro_of_batches` is the mean of
        the micro AUROC over batches of 16 rows, the number that ContIG (Taleb et al., CVPR 2022) reports for RFMiD.
        `log_loss` is added where it chooses settings.
        """
        outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
        assert outputs.shape == targets.shape, (outputs.shape, targets.shape)
        if not np.isfinite(outputs).all():
            outputs = np.full_like(outputs, np.nan)
        measured: dict[str, float] = {}
        for name in _METRICS:
            by_label = [_measured(name, outputs[:, k], targets[:, k]) for k in range(self.outputs)]
            measured[f"{name}_macro"] = float("nan") if np.isnan(by_label).all() else float(np.nanmean(by_label))
            measured[f"{name}_micro"] = _measured(name, outputs.ravel(), targets.ravel())
            measured |= {f"{name}/{label}": value for label, value in zip(self.names, by_label, strict=True)}
            if name == "auroc":
                measured["labels_in_macro"] = float((~np.isnan(by_label)).sum())
        measured["auroc_micro_of_batches"] = float("nan")
        if np.isfinite(outputs).all():
            measured["auroc_micro_of_batches"] = mean_of_batches(_micro_auroc, outputs, targets)
        if self.primary == "log_loss":
            valid = ~np.isnan(targets)
            measured["log_loss"] = binary_log_loss(outputs[valid], targets[valid] == 1, shares=shares)
        return measured

    def contributions(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray | None:
        """Return the mean over labels of the components of their AUROC; a row without a label has the AUROC itself."""
        if self.primary == "log_loss":
            return None
        by_label = []
        for scores, values in zip(np.asarray(outputs, np.float64).T, targets.T, strict=True):
            valid = ~np.isnan(values)
            components = auroc_components(scores[valid], values[valid])
            if components is not None:
                of_rows = np.full(len(values), components.mean())
                of_rows[valid] += (components - components.mean()) * len(values) / valid.sum()
                by_label.append(of_rows)
        return np.mean(by_label, axis=0) if by_label else None

    def vote(self, weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the shares `[M, K]` of votes for 1 among the neighbours that have the label; NaN where none has."""
        return mean_vote(weights, targets)


def _micro_auroc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Return the AUROC of all labels of a batch as one problem; NaN if they are of one class."""
    valid = ~np.isnan(targets)
    components = auroc_components(outputs[valid], targets[valid])
    return float("nan") if components is None else float(components.mean())


def _measured(name: str, scores: np.ndarray, targets: np.ndarray) -> float:
    """Return a metric over the entries that have a label; NaN if they are of one class, or a score is not finite."""
    valid = ~np.isnan(targets)
    if len(np.unique(targets[valid])) < 2 or not np.isfinite(scores).all():
        return float("nan")
    return float(_METRICS[name](targets[valid], scores[valid]))
