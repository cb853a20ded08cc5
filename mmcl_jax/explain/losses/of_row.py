"""The loss on a fixed reference batch with a row appended, as a function of one embedded input of the row."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from mmcl_jax.encoders import Features, Model
from mmcl_jax.explain.embedded import Layout
from mmcl_jax.objectives import Objective, Outputs
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.state.model import fuse_by, stateless_layers
from mmcl_jax.training.step.forward import ViewedBatch, forward
from mmcl_jax.views import VIEWS, apply_views

_READ = ("target/", "present/")


class LossOfRow:
    """The loss on the reference batch with one row appended; compiled programs know it by its identity."""

    def __init__(self, graphdef: nnx.GraphDef, objective: Objective, run: Run, input: str, layout: Layout) -> None:
        """Build the views that the terms read."""
        config = run.config
        self._graphdef, self._objective, self._input, self._layout = graphdef, objective, input, layout
        self._views = {
            name: VIEWS.build(config.views[name], f"config.views.{name}")
            for name in objective.modalities
            if name not in objective.parts
        }
        self._draws = {"seed": np.uint32(config.seed), "step": np.int32(0)}
        self.of_batch = jax.jit(self._of_batch)
        self.other_features = jax.jit(self._other_features)

    def __call__(self, arrays: Any, row: Float[Array, "E"], context: Any) -> Float[Array, "1"]:
        """Return the loss `[1]` for one embedded row."""
        model = nnx.merge(self._graphdef, arrays["model"])
        batch, features = context["batch"], dict(context["features"])
        embedded = self._layout.join(row, context["rest"])
        own = model.encoders[self._input].features(embedded, train=False)
        features |= {name: own for name, view in self._views.items() if view.modality == self._input}
        outputs = self._forward(model, arrays, batch, features)
        reference = arrays["reference"]
        joined, read = jax.tree.map(
            lambda many, one: jnp.concatenate([many, one.astype(many.dtype)]),
            (reference["outputs"], reference["batch"]),
            (outputs, self.read_by_loss(batch)),
        )
        learned = {
            key: {name: model.learned[key][name][...] for name in names}
            for key, names in self._objective.learned.items()
        }
        value, _ = self._objective(
            joined,
            read,
            learned,
            layers=stateless_layers(model, self._objective),
            fuse=fuse_by(model, self._objective, train=False),
            seed=jnp.asarray(self._draws["seed"]),
            step=jnp.asarray(self._draws["step"]),
        )
        return value[None]

    def read_by_loss(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of a batch that the loss itself reads: ids, groups, targets and presence."""
        return {name: rows for name, rows in batch.items() if name in ("id", "group") or name.startswith(_READ)}

    def _of_batch(self, arrays: Any, batch: Mapping[str, Array]) -> Outputs:
        return self._forward(nnx.merge(self._graphdef, arrays["model"]), arrays, batch, {})

    def _other_features(self, arrays: Any, batch: Mapping[str, Array]) -> dict[str, Features]:
        encoders = nnx.merge(self._graphdef, arrays["model"]).encoders
        others = {name: view for name, view in self._views.items() if view.modality != self._input}
        viewed = apply_views(others, batch, **self._draws_in(), fitted=arrays["fitted"], plain=True)
        return {name: encoders[others[name].modality](view.values, train=False) for name, view in viewed.items()}

    def _forward(self, model: Model, arrays: Any, batch: Mapping[str, Array], known: Mapping[str, Features]) -> Outputs:
        draws = self._draws_in()
        viewed = apply_views(self._views, batch, **draws, fitted=arrays["fitted"], plain=True)
        rows = ViewedBatch(rows=batch, views=viewed, **draws)
        return forward(model, None, self._objective, rows, train=False, known=known)

    def _draws_in(self) -> dict[str, Any]:
        return {name: jnp.asarray(value) for name, value in self._draws.items()}
