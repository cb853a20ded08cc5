"""A multi-layer perceptron of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmcl_jax.evaluation.protocols.rivals.base import (
    FittedRival,
    Rival,
    RivalData,
    Settings,
    log_integer,
    log_uniform,
    one_hot,
)
from mmcl_jax.evaluation.protocols.rivals.rounds import best_round

EPOCHS, PATIENCE = 300, 20


class Mlp(Rival):
    """One or two hidden layers, Adam, up to 300 epochs, of which validation chooses the best (it waits for 20).

    Numbers are standardised, missing ones are the mean and have an indicator; categories are one-hot; numbers to
    predict are standardised. The space, log-uniform: the width (32 to 256), the learning rate (1e-4 to 1e-2) and the
    L2 penalty (1e-6 to 1e-1); and one or two hidden layers.
    """

    words = "MLP"

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {
            "width": log_integer(random, 32, 256),
            "layers": int(random.integers(1, 3)),
            "learning_rate_init": log_uniform(random, 1e-4, 1e-2),
            "alpha": log_uniform(random, 1e-6, 1e-1),
        }

    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the fitted layers."""
        more = dict(settings)
        width, layers = int(more.pop("width", 100)), int(more.pop("layers", 1))
        numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
        columns = one_hot(data.categorical, numbers)
        train = columns.fit_transform(data.train)
        units = data.task.units(data.labels)
        labels = units.standardise(data.labels) if data.number else data.labels
        model = (MLPRegressor if data.number else MLPClassifier)(
            hidden_layer_sizes=(width,) * layers, random_state=data.seed, **more
        )

        def step(number: int) -> Any:
            return (
                model.partial_fit(train, labels) if data.number else model.partial_fit(train, labels, classes=classes)
            )

        def outputs(fitted: Any, rows: np.ndarray) -> np.ndarray:
            made = data.outputs(fitted, columns.transform(rows))
            return units.restore(made) if data.number else made

        classes = np.unique(labels)
        best, number = best_round(data, step, outputs, most=EPOCHS, patience=PATIENCE)
        parameters = sum(part.size for part in (*best.coefs_, *best.intercepts_))
        chosen = {"epoch": float(number)}
        return FittedRival(lambda rows: outputs(best, rows), {"parameters": float(parameters)}, chosen)
