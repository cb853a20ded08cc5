"""MMCL on the digits that ship with the package, at a size a laptop trains in half a minute.

Everything but the objective and the second view is the same in `digits_simclr`. The values were fixed before any result
was looked at, from the paper's (temperature, corruption, optimizer) and from the time two cores need.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view

# Digits are not mirrored (flip), and their grey images have no colour; weak rotation stands in for slanted writing.
AUGMENTATION = {
    "crop_scale": (0.5, 1.0),
    "flip": 0.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "grayscale": 0.0,
    "blur": 0.0,
    "rotation": 15.0,
}


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = experiment()
    config.batch_size = 128
    config.epochs = 60
    config.checkpoint_every = 180
    config.inputs = {"image": input(), "table": input()}
    config.views = {"image": view("augment", **AUGMENTATION), "table": view("scarf", rate=0.3)}
    config.encoders = {"image": encoder("cnn"), "table": encoder("table_mlp", hidden=256, features=128)}
    config.projectors = {"image": projector("mlp", hidden=128, out=64), "table": projector("mlp", hidden=128, out=64)}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.optimizer = optimizer("adam_l2", weight_decay=1e-4)
    config.schedule = schedule("warmup_cosine", learning_rate=3e-3, warmup_epochs=6)
    return config
