"""RealMLP (Holzmüller et al., NeurIPS 2024) and TabM (Gorishniy et al., ICLR 2025), both from the package pytabkit."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.impute import SimpleImputer

from mmcl_jax.evaluation.protocols.rivals.base import FittedRival, Rival, RivalData, Settings, log_integer, log_uniform

EPOCHS = 200  # of TabM at most


class _Network(Rival):
    """A network of pytabkit, on the processor. Missing numbers are the mean with an indicator; categories are native.

    Validation chooses the epoch, by the classification error (the cross-entropy where shares are ranked) or the error.
    """

    package = "pytabkit"
    models: ClassVar[tuple[str, str]]  # of classes and of numbers
    fixed: ClassVar[dict[str, Any]] = {}

    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the fitted network."""
        with _quiet():
            return self._fit(data, settings)

    def _fit(self, data: RivalData, settings: Settings) -> FittedRival:
        import pytabkit

        impute = SimpleImputer(add_indicator=True)
        numbers = np.flatnonzero(~data.categorical)
        if len(numbers):
            impute.fit(data.train[:, numbers])

        def filled(rows: np.ndarray) -> np.ndarray:
            categories = np.nan_to_num(rows[:, data.categorical], nan=-1.0)  # a missing category is one of its own
            return np.concatenate([categories, *([impute.transform(rows[:, numbers])] if len(numbers) else [])], axis=1)

        ranked = data.task.primary in ("auroc", "log_loss")
        metric = {"val_metric_name": "cross_entropy"} if ranked else {}
        train = filled(data.train)
        model = getattr(pytabkit, self.models[data.number])(
            device="cpu",
            random_state=data.seed % 2**31,
            n_threads=data.threads,
            **{**self.fixed, **metric, **settings},
        )
        rows, labels = data.watched
        watched = (filled(rows), labels) if len(rows) else (train, data.labels)
        model.fit(train, data.labels, *watched, cat_indicator=np.arange(train.shape[1]) < data.categorical.sum())

        def outputs(rows: np.ndarray) -> np.ndarray:
            with _quiet():
                return data.outputs(model, filled(rows))

        return FittedRival(outputs, {"parameters": _parameters(model.alg_interface_)})


class RealMlp(_Network):
    """RealMLP with its tuned defaults.

    The space: the learning rate (log-uniform in 0.02 to 0.3), the scale of the embeddings of numbers (log-uniform in
    0.05 to 0.5), dropout (0, 0.15 or 0.3) and weight decay (0 or 0.02); these are its authors' spaces.
    """

    words = "RealMLP"
    models = ("RealMLP_TD_Classifier", "RealMLP_TD_Regressor")

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {
            "lr": log_uniform(random, 0.02, 0.3),
            "plr_sigma": log_uniform(random, 0.05, 0.5),
            "p_drop": (0.0, 0.15, 0.3)[random.integers(3)],
            "wd": (0.0, 0.02)[random.integers(2)],
        }


class TabM(_Network):
    """TabM, an ensemble of 32 networks that share weights; up to 200 epochs, until 16 are no better.

    The space: the learning rate (log-uniform in 1e-4 to 5e-3), the width (log-uniform in 64 to 512), one to four
    blocks, dropout (uniform in 0 to 0.5) and weight decay (log-uniform in 1e-4 to 1e-1).
    """

    words = "TabM"
    models = ("TabM_D_Classifier", "TabM_D_Regressor")
    fixed: ClassVar[dict[str, Any]] = {"n_epochs": EPOCHS}

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {
            "lr": log_uniform(random, 1e-4, 5e-3),
            "d_block": log_integer(random, 64, 512),
            "n_blocks": int(random.integers(1, 5)),
            "dropout": float(random.uniform(0, 0.5)),
            "weight_decay": log_uniform(random, 1e-4, 1e-1),
        }


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drop the warnings of torch and the notes of Lightning on what pytabkit does with them."""
    level = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.INFO)
        try:
            yield
        finally:
            logging.disable(level)


def _parameters(interface: Any) -> float:
    """Return the number of weights of a fitted interface of pytabkit, which has its network under one of two names."""
    parts = [interface, *getattr(interface, "sub_split_interfaces", ())]
    networks = [getattr(part, name) for part in parts for name in ("model", "model_") if hasattr(part, name)]
    return float(sum(weight.numel() for network in networks for weight in network.parameters()))
