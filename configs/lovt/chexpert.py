"""The supervised baseline of LoVT: CheXpert's labels, of which uncertain ones are positive, predicted from the image.

The loss is the mean cross-entropy of five labels. Adam's rate is halved after three passes without progress, and the
training stops after ten: here of the validation loss, in the released code of the AUROC.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import CHEXPERT_LABELS, ChestData, chest, input, term


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data).image_only(learning_rate=3e-4)
    config = base.plateau(patience=3, stop=10)
    config.inputs = {"image": input()}
    config.views = {"image": base.radiograph()}
    config.encoders = {"image": base.image_encoder()}
    config.objective = (term("multi_label", between=("image",), labels=CHEXPERT_LABELS),)
    return config
