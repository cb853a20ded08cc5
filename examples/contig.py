"""One image against three vectors, any of which a person may lack, as in ContIG: one term for each vector.

    python examples/cohort.py raw
    mmcl prepare --request raw/cohort.json --out stores/cohort
    mmcl pretrain --config examples/contig.py --config.data=stores/cohort --workdir runs/contig

`--config.cohort=inner` trains on the rows that have all of them.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import encoder, experiment, input, optimizer, projector, schedule, term, view

VECTORS = ("pgs", "burdens", "snps")


def get_config() -> ConfigDict:
    """Return the experiment, at a size that a test can train."""
    config = experiment()
    config.batch_size = 8
    config.epochs = 1
    config.log_every = 1
    config.batch_norm.group_size = 8
    config.monitor.epochs = None
    config.inputs = {"image": input(), **{name: input(missing="mean") for name in VECTORS}}
    config.views = {
        "image": view("augment", flip=0.0, grayscale=0.0, blur=0.0),
        **{name: view("vector", modality=name) for name in VECTORS},
    }
    config.encoders = {
        "image": encoder("cnn", channels=(4, 8)),
        **{name: encoder("vector_mlp", hidden=8, features=8) for name in VECTORS},
    }
    config.projectors = {name: projector("mlp", hidden=8, out=8) for name in ("image", *VECTORS)}
    config.objective = tuple(term("clip", between=("image", name), temperature=0.1) for name in VECTORS)
    config.optimizer = optimizer("adam_l2")
    config.schedule = schedule("warmup_cosine", learning_rate=1e-3, warmup_epochs=0)
    return config
