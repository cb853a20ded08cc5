"""MMVAE as Shi et al. published it for MNIST and SVHN (NeurIPS 2019), with the values of its released code.

Grey images have the perceptron, colour images and volumes the convolutional network; the latent space has 20
dimensions. MNIST is read at 28 pixels a side, as there. The batch of 4 on OASIS is the one that fitted in the taxonomy.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, decoder, encoder, optimizer, schedule, taxonomy, term


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data)
    if data == "oasis":
        base = dataclasses.replace(base, batch_size=4)
    elif data != "oasis_small":
        base = dataclasses.replace(base, batch_size=128)
    if not data.endswith("_small"):
        base = dataclasses.replace(base, epochs=30, samples=30)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    if "mnist" in config.views:
        config.views["mnist"].size = (28, 28)
    perceptron = [name in ("rotated", "noisy", "mnist") for name in base.modalities]
    config.encoders = {
        name: encoder("laplace_mlp" if flat else "laplace_conv", features=20)
        for name, flat in zip(base.modalities, perceptron, strict=True)
    }
    config.objective = (
        term(
            "mmvae_original",
            between=base.modalities,
            decoders=tuple(decoder("mlp" if flat else "conv") for flat in perceptron),
            samples=base.samples,
            at_a_time=1 if "oasis" in data else 2,
        ),
    )
    config.optimizer = optimizer("amsgrad")
    config.schedule = schedule("constant", learning_rate=1e-3)
    return config
