"""ConVIRT (Zhang et al., MLHC 2022) as LoVT's baseline: an image is contrasted with one random sentence.

Images are pooled by their mean and reports by their maximum, the projectors have no normalisation, the negatives are
the batch, and the learning rate is halved after 12 passes over the validation rows without progress. The cyclic rate of
LoVT's ablation is `--config.schedule.name=cosine_cycles`.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest, projector


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data)
    if not base.small:
        base = dataclasses.replace(base, batch_size=base.slices, micro_batch=None, epochs=500)
    config = base.plateau(patience=12, stop=15)
    config.inputs = base.inputs()
    config.cohort = "inner"
    config.views = base.views(sentences="one")
    config.encoders = base.encoders(image="mean", report="maximum")
    config.projectors = {
        key: projector("lovt_mlp", hidden=base.hidden, out=base.out, normalise="none") for key in ("image", "report")
    }
    config.objective = (base.contrast(), *base.probes("image", "report"))
    return config
