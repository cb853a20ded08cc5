"""LoVT (Mueller et al., ECCV 2022): radiographs and reports, whole and in parts, contrasted with each other.

A global term contrasts images with reports, both pooled by attention. Local terms contrast each region of an image with
what it reads in the report's sentences, and each sentence with what it reads in the image; a region's or a sentence's
attention is its weight. The data are "mimic" (MIMIC-CXR, the published values) and "chest" (drawn chests, `mmcl
generate chest`); `mmcl_jax/config/systems/chest.py` has the values, and docs/lovt.md the ablations.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import ChestData, chest, term


def get_config(data: ChestData = "mimic") -> ConfigDict:
    """Return the experiment."""
    base = chest(data)
    config = base.experiment()
    config.inputs = base.inputs()
    config.cohort = "inner"
    config.views = base.views()
    config.encoders = base.encoders()
    config.projectors = base.project("image", "report", "image.local", "report.local")
    config.objective = (
        base.contrast(),
        term("local_alignment", between=("image.local", "report.local"), temperature=0.3, weight=0.75),
        *base.probes("image", "report"),
    )
    return config
