"""All unions of edges of the taxonomy (Fedorov et al.), `taxonomy/CR` to `taxonomy/CR-XX-CC-RR`.

C is a local and R a pooled feature: CR joins both of one modality, XX a pooled feature to the local features of the
other modality, CC and RR two of a kind. A union is the sum of its edges in both directions. The data are
"two_view_mnist" (the default), "mnist_svhn" and "oasis" with the published values, and each with "_small" for two
cores; `mmcl_jax/config/systems/taxonomy.py` has the values.
"""

from ml_collections import ConfigDict

from mmcl_jax.config import TaxonomyData, is_union, taxonomy, union_of, unions

NAMES = unions()


def name_of(text: str) -> str | None:
    """Return the name of the union that a text means; None if it means no union."""
    return union_of(text) if is_union(text) else None


def get_config(data: TaxonomyData = "two_view_mnist", *, union: str = "XX") -> ConfigDict:
    """Return the experiment."""
    base = taxonomy(data)
    config = base.experiment()
    config.inputs = base.inputs()
    config.views = base.views()
    config.encoders = base.encoders()
    config.objective = base.edges(union)
    config.projectors = base.projectors(config.objective)
    return config
