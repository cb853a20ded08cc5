"""MMVAE, a rival of the taxonomy (Fedorov et al.): a variational autoencoder whose posteriors form a mixture.

The paper says that it has the loose bound, and not its networks, number of samples or rate. Here it has the encoder and
the recipe of all other methods, and 64 dimensions. On OASIS it has the paper's batch of 4: a larger one did not fit.
"""

import dataclasses

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, decoder, encoder, taxonomy, term


def get_config(data: TaxonomyData = "two_view_mnist") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data)
    if data == "oasis":
        base = dataclasses.replace(base, batch_size=4)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = {
        name: encoder("laplace_dcgan", width=base.width, features=64, local_side=base.local_side)
        for name in base.modalities
    }
    decoding = decoder("conv", width=base.width)
    config.objective = (
        term("mmvae", between=base.modalities, decoders=(decoding,), samples=base.samples, at_a_time=1),
    )
    return config
