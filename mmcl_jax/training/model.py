"""The model that is trained: encoders, projectors and predictors, and what the objective's terms learn."""

from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.schema import Schema
from mmcl_jax.encoders import Model, build_model
from mmcl_jax.objectives import Execution, build_objective


def trained_model(config: ConfigDict, schema: Schema, *, rngs: nnx.Rngs) -> Model:
    """The whole model of a config.

    Raises:
      UserError: an option of a part is unknown, ill-typed or out of range.
    """
    objective = build_objective(config.objective, list(config.views), execution=Execution(), schema=schema)
    return build_model(config, schema, rngs=rngs, heads=objective.heads, learned=objective.learned)
