"""SimCLR on the digits that ship with the package: the rival of `digits_mmcl`, differing in views and term alone."""

from ml_collections import ConfigDict

from mmcl_jax.config import load, term, view


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = load("digits_mmcl")
    config.name = "digits_simclr"
    augmentation = {key: value for key, value in config.views.image.items() if key != "name"}
    config.views = ConfigDict({name: view("augment", **augmentation) for name in ("image_1", "image_2")})
    del config.inputs.table, config.encoders.table, config.projectors.table
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1),)
    return config
