"""TIP (Du et al., ECCV 2024): contrast of images with table rows, matching of both, and masked modelling of the rows.

The contrast and the matching share an augmented image and a row whose columns are corrupted (30 %); the masked row has
an exact half of its columns hidden, and is reconstructed from its fusion with the same image. The three losses have
equal weights. The sizes, rates and batches for "dvm" (DVM-CAR, the default) and "cardiac" (UK Biobank) are those of the
released code; "digits" (shipped with the package) and "cars" (drawn cars) have a size for two cores. TIP is pretrained
on complete rows; cells that are missing have a learned token, as hidden cells do. `--input fusion` is what is used
afterwards: `mmcl evaluate --protocol finetune --input fusion`.
"""

import dataclasses
from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.config import input, preset, term, view


def get_config(data: Literal["dvm", "cardiac", "digits", "cars"] = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    if not base.small:
        base = dataclasses.replace(base, batch_size=256 if data == "dvm" else 128, learning_rate=3e-4)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input(missing="token")}
    config.views = {
        "image": base.augment(),
        "table": base.corrupt(),
        "table_masked": view("mask", rate=0.5, count="exact", fill="token"),
        "fused": view("fused", of=("image.local", "table.local"), absent="mask"),
        "fused_masked": view("fused", of=("image.local", "table_masked.local"), absent="mask"),
    }
    config.encoders = {
        "image": base.image_encoder(),
        "table": base.table_transformer(),
        "fusion": base.interaction(),
    }
    config.projectors = {"image": base.projector(), "table": base.projector(hidden=config.encoders.table.width)}
    config.objective = (
        term("clip", between=("image", "table"), temperature=0.1, weight=1 / 3),
        term("matching", between=("image", "table", "fused:none"), temperature=0.1, weight=1 / 3),
        term("masked_table", between=("fused_masked:none", "table_masked"), weight=1 / 3),
    )
    return config
