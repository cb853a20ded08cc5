"""Which pairs of modalities a run compares."""

from types import SimpleNamespace

import pytest

from mmcl_jax.config import experiment, term, view
from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.data.schema import LABEL_TAG, Column, Schema
from mmcl_jax.evaluation.sources.pairs import compared

pytestmark = pytest.mark.core

VIEWS = {
    "image": view("augment"),
    "second": view("augment"),
    "t1-mri": view("vector", modality="t1-mri"),
    "pgs": view("vector", modality="pgs"),
    "both": view("fused", of=("image", "pgs"), modality="fusion"),
}


@pytest.mark.parametrize(
    ("terms", "pairs"),
    [
        ([term("clip", between=("pgs", "image"))], [("image", "pgs")]),
        ([term("clip", between=("image:pgs", "pgs")), term("clip", between=("image:none", "t1-mri:none"))],
         [("image:pgs", "pgs"), ("image:none", "t1-mri:none")]),
        ([term("siglip", between=("image", "pgs")), term("vicreg", between=("second", "pgs"))], [("image", "pgs")]),
        ([term("nt_xent", between=("image", "second"))], []),
        ([term("supervised", between=("image", "pgs"))], []),
        ([term("local_alignment", between=("image.local", "pgs.local"))], []),
        ([term("clip", between=("both", "image")), term("clip", between=("both", "t1-mri"))], [("fusion", "t1-mri")]),
    ],
)  # fmt: skip
def test_pairs_are_those_of_terms_that_compare_pooled_features_of_two_modalities(terms, pairs) -> None:
    config = experiment()
    config.views, config.objective = VIEWS, tuple(terms)
    label = Column(name="grade", kind="categorical", categories=("mild", "severe"), tags=(LABEL_TAG,))
    schema = Schema(columns=(), image=None, labels=(label,))
    specs = dict.fromkeys(("image", "t1-mri", "pgs"), InputSpec(kind="vector", shape=(3,), dtype="float32"))
    assert compared(config, SimpleNamespace(schema=schema, specs=specs)) == pairs
