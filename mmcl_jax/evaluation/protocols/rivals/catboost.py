"""CatBoost."""

import numpy as np

from mmcl_jax.evaluation.protocols.rivals.base import (
    FittedRival,
    Rival,
    RivalData,
    Settings,
    log_integer,
    log_uniform,
    outputs_of,
)

TREES, PATIENCE = 500, 50


class CatBoost(Rival):
    """Up to 500 iterations; the loss on validation ends them after 50 that are no better. All columns are native.

    The space, log-uniform: the learning rate (0.02 to 0.3), the depth (4 to 8), and the L2 penalty (1 to 10).
    """

    package, words = "catboost", "CatBoost"

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {
            "learning_rate": log_uniform(random, 0.02, 0.3),
            "depth": log_integer(random, 4, 8),
            "l2_leaf_reg": log_uniform(random, 1, 10),
        }

    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the fitted trees."""
        import catboost

        model = (catboost.CatBoostRegressor if data.number else catboost.CatBoostClassifier)(
            iterations=TREES,
            random_seed=data.seed % 2**31,
            thread_count=data.threads,
            verbose=False,
            allow_writing_files=False,
            cat_features=np.flatnonzero(data.categorical).tolist(),
            **settings,
        )
        rows, labels = data.watched
        watched = {"eval_set": (_texts(data, rows), labels), "early_stopping_rounds": PATIENCE}
        model.fit(_texts(data, data.train), data.labels, **(watched if len(rows) else {}))

        def outputs(rows: np.ndarray) -> np.ndarray:
            if data.number:
                return outputs_of(model.predict(_texts(data, rows)), None, data.task)
            return outputs_of(model.predict_proba(_texts(data, rows)), model.classes_, data.task)

        leaves = float(np.sum(model.get_tree_leaf_counts()))
        return FittedRival(outputs, {"leaves": leaves}, {"iterations": float(model.tree_count_)})


def _texts(data: RivalData, rows: np.ndarray) -> np.ndarray:
    """Return the rows with categories as texts, as CatBoost reads them; a missing category is one of its own."""
    if not data.categorical.any():
        return rows
    mixed = rows.astype(object)
    mixed[:, data.categorical] = np.where(np.isnan(rows), "missing", rows.astype(str))[:, data.categorical]
    return mixed
