"""The model that is trained: encoders and projectors, and the scalars that the objective's terms learn."""

from collections.abc import Mapping

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
    learned: Mapping[str, Mapping[str, float]] = build_objective(
        config.objective, list(config.views), execution=Execution()
    ).learned
    return build_model(config, schema, rngs=rngs, learned=learned)
