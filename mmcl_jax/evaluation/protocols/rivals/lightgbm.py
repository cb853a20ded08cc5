"""LightGBM."""

import numpy as np

from mmcl_jax.evaluation.protocols.rivals.base import FittedRival, Rival, RivalData, Settings, log_integer, log_uniform

TREES, PATIENCE = 500, 50


class LightGbm(Rival):
    """Up to 500 iterations; the loss on validation ends them after 50 that are no better. All columns are native.

    The space, log-uniform: the learning rate (0.02 to 0.3), the most leaves of a tree (4 to 127), the fewest rows of a
    leaf (2 to 40) and the L2 penalty (1e-4 to 10); uniform: the share of columns of a tree (0.5 to 1).
    """

    package, words = "lightgbm", "LightGBM"

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {
            "learning_rate": log_uniform(random, 0.02, 0.3),
            "num_leaves": log_integer(random, 4, 127),
            "min_child_samples": log_integer(random, 2, 40),
            "reg_lambda": log_uniform(random, 1e-4, 10),
            "colsample_bytree": float(random.uniform(0.5, 1)),
        }

    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the fitted trees."""
        import lightgbm

        kind = lightgbm.LGBMRegressor if data.number else lightgbm.LGBMClassifier
        model = kind(n_estimators=TREES, random_state=data.seed, verbosity=-1, n_jobs=data.threads, **settings)
        rows, labels = data.watched
        watched = {"eval_X": rows, "eval_y": labels, "callbacks": [lightgbm.early_stopping(PATIENCE, verbose=False)]}
        model.fit(
            data.train,
            data.labels,
            categorical_feature=np.flatnonzero(data.categorical).tolist(),
            **(watched if len(rows) else {}),
        )
        trees = model.booster_.dump_model(num_iteration=model.best_iteration_)["tree_info"]
        size = {"leaves": float(sum(tree["num_leaves"] for tree in trees))}
        return FittedRival(
            lambda rows: data.outputs(model, rows), size, {"iterations": float(model.best_iteration_ or TREES)}
        )
