"""SimCLR (Chen et al., ICML 2020) as ContIG's baseline: its negatives are a queue of 65,536 earlier embeddings.

`--config.objective.0.queue=0` contrasts the views of a batch, as SimCLR's paper does.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import RetinaData, retina, term


def get_config(data: RetinaData = "ukb") -> ConfigDict:
    """Return the experiment."""
    base = retina(data).baseline()
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.augment_twice()
    config.encoders = base.encoders()
    config.projectors = {"image": base.projector()}
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1, queue=base.queue),)
    return config
