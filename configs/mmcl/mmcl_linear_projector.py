"""MMCL with the table projector of its paper (section 4.2), a single layer; the released code has two."""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, input, preset, projector, term


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input()}
    config.views = {"image": base.augment(), "table": base.corrupt()}
    config.encoders = {"image": base.image_encoder(), "table": base.table_encoder()}
    image = base.projector()
    config.projectors = {"image": image, "table": projector("linear", out=image.out)}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    return config
