"""mmcl_jax: multimodal contrastive pretraining of images paired with tables, in JAX and Flax NNX.

The package reads in the order of its folders: `data` (raw files to a store to batches), `views` (augmentation),
`encoders`, `tasks`, `objectives`, `training`, `evaluation`, `cli`. A folder never imports one to its right.
"""

from importlib.metadata import version

__version__ = version("mmcl_jax")
