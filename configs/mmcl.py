"""MMCL (Hager et al., CVPR 2023) with the hyper-parameters of its DVM runs, as reproduced by its successors.

ResNet-50 on 128-pixel images, a two-layer table encoder, InfoNCE at temperature 0.1, 30 % of the columns corrupted.
For the cardiac data the published learning rate is 3e-3 and the weight decay 1e-4.
The views crop and blur the stored images and resize to 128 pixels afterwards, so a store may hold larger ones, as that
of DVM-CAR does (300). Smaller ones are enlarged; `--config.views.image.size=None` keeps the stored size.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view


def get_config() -> ConfigDict:
    """Return the experiment."""
    config = experiment()
    config.inputs = {"image": input(), "table": input()}
    config.views = {"image": view("augment", size=(128, 128), probability=0.95), "table": view("scarf", rate=0.3)}
    config.encoders = {"image": encoder("resnet50"), "table": encoder("table_mlp")}
    config.projectors = {"image": projector("mlp"), "table": projector("mlp")}
    config.objective = (term("clip", between=("image", "table"), temperature=0.1),)
    config.optimizer = optimizer("adam_l2", weight_decay=1.5e-6)
    config.schedule = schedule("warmup_cosine", learning_rate=3e-4, warmup_epochs=10)
    return config
