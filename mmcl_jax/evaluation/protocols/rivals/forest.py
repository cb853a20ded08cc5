"""A random forest of scikit-learn."""

import numpy as np
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline

from mmcl_jax.evaluation.protocols.rivals.base import FittedRival, Rival, RivalData, Settings, one_hot

TREES = 300


class Forest(Rival):
    """300 trees. Missing numbers go to the better side of a split; categories are one-hot.

    The space: the share of columns that a split may use (uniform in 0.1 to 1), and the fewest rows of a leaf (1, 2, 4
    or 8).
    """

    words = "Random forest"

    def draw(self, random: np.random.Generator) -> Settings:
        """Return drawn settings."""
        return {"max_features": float(random.uniform(0.1, 1)), "min_samples_leaf": int(2 ** random.integers(0, 4))}

    def fit(self, data: RivalData, settings: Settings) -> FittedRival:
        """Return the fitted forest."""
        kind = RandomForestRegressor if data.number else RandomForestClassifier
        forest = kind(n_estimators=TREES, random_state=data.seed, n_jobs=data.threads, **settings)
        model = make_pipeline(one_hot(data.categorical, "passthrough"), forest).fit(data.train, data.labels)
        leaves = sum(tree.get_n_leaves() for tree in forest.estimators_)
        return FittedRival(lambda rows: data.outputs(model, rows), {"leaves": float(leaves)})
