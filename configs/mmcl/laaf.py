"""MMCL with the label as a feature (LaaF, section 3.3): one more table column, corrupted as often as others."""

from ml_collections import ConfigDict

from mmcl_jax.config import DataWithClasses, input, preset, term


def get_config(data: DataWithClasses = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input(label_as_feature=True)}
    config.views = {"image": base.augment(), "table": base.corrupt()}
    config.encoders = {"image": base.image_encoder(), "table": base.table_encoder()}
    config.projectors = {"image": base.projector(), "table": base.projector()}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    return config
