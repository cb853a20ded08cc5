"""MT-CMTM (Roy et al., arXiv 2501.07304): contrast of images with table rows, and masked modelling of the rows.

The image encoder only helps to train the table encoder, which is used alone afterwards: `mmcl evaluate --input table`.
Known from the paper: InfoNCE; an L1 loss of masked cells, which are drawn from the column's marginal, each column with
one probability; a ResNet-18 and a 1D-ResNet-CBAM with separate projectors; OneCycle with the maximum 1e-2. Not known,
and our choice: both weights 1, the probability 0.3 and the temperature 0.1 (those of MMCL), the sizes of encoder and
heads, the optimizer, the batch and the length. The data are "dvm" (DVM-CAR, the default), "digits", "cars", "membranes"
(`mmcl generate membranes`) or "own".
"""

from typing import Literal

from ml_collections import ConfigDict

from mmcl_jax.config import OwnData, input, preset, schedule, term, view


def get_config(data: Literal["dvm", "digits", "cars", "membranes"] | OwnData = "dvm") -> ConfigDict:
    """Return the experiment."""
    base = preset(data)
    config = base.experiment()
    config.inputs = {"image": input(), "table": base.table_input(missing="token")}
    config.views = {
        "image": base.augment(),
        "table": view("mask", rate=0.3, count="bernoulli", fill="marginal"),
    }
    config.encoders = {"image": base.image_resnet18(), "table": base.table_resnet()}
    config.projectors = {"image": base.projector(), "table": base.projector()}
    config.objective = (
        term("clip", between=("image", "table"), temperature=0.1, weight=1.0),
        term(
            "masked_table",
            between=("table",),
            numbers="l1",
            categories="l1",
            over="own",
            head="pooled",
            average="entries",
            weight=1.0,
        ),
    )
    config.schedule = schedule("one_cycle", learning_rate=1e-2)
    return config
