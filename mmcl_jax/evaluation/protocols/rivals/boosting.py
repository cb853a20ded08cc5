"""Histogram gradient boosting of scikit-learn."""

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from mmcl_jax.evaluation.protocols.rivals.base import FittedRival, Rival, RivalData, Settings, log_integer, log_uniform
from mmcl_jax.evaluation.protocols.rivals.rounds import best_round

ROUND, ROUNDS, PATIENCE = 20, 20, 3  # iterations of a round; most rounds; rounds without improvement


class Boosting(Rival):
    """Up to 400 iterations, of which validation chooses the number (in twenties); columns are native.

    The space, log-uniform: the learning rate (0.02 to 0.3), the most leaves of a tree (4 to 63), the fewest rows of a
    leaf (2 to 40), and the L2 penalty (1e-4 to 10).
    """

    words = "Gradient boosting"

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {
            "learning_rate": log_uniform(random, 0.02, 0.3),
            "max_leaf_nodes": log_integer(random, 4, 63),
            "min_samples_leaf": log_integer(random, 2, 40),
            "l2_regularization": log_uniform(random, 1e-4, 10),
        }

    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the fitted trees."""
        kind = HistGradientBoostingRegressor if data.number else HistGradientBoostingClassifier
        model = kind(
            categorical_features=data.categorical if data.categorical.any() else None,
            early_stopping=False,
            warm_start=True,
            random_state=data.seed,
            **settings,
        )

        def step(number: int) -> Any:
            return model.set_params(max_iter=ROUND * number).fit(data.train, data.labels)

        best, number = best_round(data, step, data.outputs, most=ROUNDS, patience=PATIENCE)
        # scikit-learn has no public number of leaves of these trees.
        leaves = sum(tree.get_n_leaf_nodes() for trees in best._predictors for tree in trees)
        chosen = {"iterations": float(ROUND * number)}
        return FittedRival(lambda rows: data.outputs(best, rows), {"leaves": float(leaves)}, chosen)
