"""SimCLR (Chen et al., ICML 2020) on the images alone: MMCL's image encoder, augmentation and budget, two views.

In MMCL's code the first view is always augmented and the second with probability 0.95.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import Data, load, term, view


def get_config(data: Data = "dvm") -> ConfigDict:
    """Return the experiment."""
    config = load("mmcl/mmcl", data=data)
    config.name = "simclr"
    augmentation = {key: value for key, value in config.views.image.items() if key != "name"}
    second = view("augment", **augmentation)
    config.views = ConfigDict({"image_1": view("augment", **{**augmentation, "probability": 1.0}), "image_2": second})
    del config.inputs.table, config.encoders.table, config.projectors.table
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1),)
    return config
