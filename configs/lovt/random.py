"""The image encoder at random initial weights, LoVT's first baseline: no step is trained, and the run has step 0."""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest, input, projector, term


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data)
    config = base.untrained()
    config.inputs = {"image": input()}
    config.views = base.augment_twice()
    config.encoders = {"image": base.image_encoder()}
    config.projectors = {"image": projector("linear", out=base.out)}
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1),)
    return config
