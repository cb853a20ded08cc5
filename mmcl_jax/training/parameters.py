"""The number of parameters of an experiment, by part, and a check that a device can hold them in training."""

import math
from collections import Counter
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mmcl_jax.encoders import Model
from mmcl_jax.encoders.torch_names import leaves_of
from mmcl_jax.errors import check
from mmcl_jax.training.memory import memory_of_device, size
from mmcl_jax.training.mesh import by_size
from mmcl_jax.training.state.groups import frozen_patterns, split_frozen
from mmcl_jax.training.state.train_state import Arrays, split_model

Part = tuple[str, ...]  # such as ("encoders", "image"); the learned scalars and the layers of terms are parts of theirs


def parameters_by_part(params: Arrays) -> dict[Part, int]:
    """Return the number of parameters of every encoder, projector, predictor and term.

    Example:
      >>> parameters_by_part({"encoders": {"image": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}}})
      {('encoders', 'image'): 9}
    """
    counts: Counter[Part] = Counter()
    for path, leaf in leaves_of(params):
        counts[path[:2]] += math.prod(leaf.shape)
    return dict(counts)


def parameter_report(params: Arrays) -> str:
    """Return a line with the number of parameters, in all and by part, the largest part first.

    Example:
      >>> parameter_report({"encoders": {"image": np.ones(9)}, "projectors": {"image:pgs": np.ones(12)}})
      '21 parameters: projectors.image:pgs 12, encoders.image 9'
    """
    counts = parameters_by_part(params)
    parts = (f"{'.'.join(part)} {count:,}" for part, count in sorted(counts.items(), key=lambda part: -part[1]))
    return f"{sum(counts.values()):,} parameters: {', '.join(parts)}"


def check_parameters(config: ConfigDict, model: Model, optimizer: optax.GradientTransformation, mesh: Mesh) -> None:
    """Check that the parameters with their gradient and the optimizer's state fit into the memory of a device.

    These are the least that a step holds, whatever the batch; arrays that `config.mesh.model` divides count in part.

    Args:
      config: the experiment.
      model: its model; the arrays may be abstract.
      optimizer: its optimizer.
      mesh: the devices.

    Raises:
      UserError: they do not fit; the sentence names the key of the largest part.
    """
    limit = memory_of_device(mesh)
    if limit is None:
        return
    params = split_model(model)[0]
    trained = split_frozen(params, frozen_patterns(config.frozen, model))[0]
    state = jax.eval_shape(optimizer.init, trained)

    def held(arrays: Any) -> int:
        shardings = jax.tree.leaves(by_size(mesh, arrays, above=config.mesh.shard_above))
        return sum(
            math.prod(sharding.shard_shape(array.shape)) * np.dtype(array.dtype).itemsize
            for array, sharding in zip(jax.tree.leaves(arrays), shardings, strict=True)
        )

    needed = held(params) + held(trained) + held(state)
    counts = parameters_by_part(params)
    part, count = max(counts.items(), key=lambda part: part[1])
    key = ".".join(("config", *part))
    smaller = f"a smaller {key}.hidden, " if "hidden" in config.get(part[0], {}).get(part[-1], {}) else ""
    check(
        needed <= limit,
        f"{key}: {count:,} of the model's {sum(counts.values()):,} parameters are here; with their gradient and the "
        f"optimizer's state the parameters need at least {size(needed)} per device, and a device has {size(limit)}; "
        f"choose {smaller}fewer features of the input when the store is prepared, or divide large arrays over devices "
        f"with config.mesh.model.",
    )
