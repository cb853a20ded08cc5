"""SimCLR on the images alone, as MMCL's baseline: its image encoder, augmentation and budget, two views per image.

In MMCL's code the first view is always augmented and the second with probability 0.95.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = experiment()
    config.inputs = {"image": input()}
    config.views = {
        "image_1": view("augment", size=(128, 128)),
        "image_2": view("augment", size=(128, 128), probability=0.95),
    }
    config.encoders = {"image": encoder("resnet50")}
    config.projectors = {"image": projector("mlp")}
    config.objective = (term("nt_xent", between=("image_1", "image_2"), temperature=0.1),)
    config.optimizer = optimizer("adam_l2", weight_decay=1.5e-6)
    config.schedule = schedule("warmup_cosine", learning_rate=3e-4, warmup_epochs=10)
    return config
