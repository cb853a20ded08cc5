"""The contract of an encoder, and the registries.

An encoder is an `nnx.Module` with an attribute `features` (its number of pooled features) and
`__call__(view, *, train) -> Features`. A projector is one with `__call__(features, *, train)`, from `[B, D]` to
`[B, d]`, and `features`, which is d; a predictor is a projector behind a projector. Compute is in the given dtype;
parameters and normalisation statistics are float32. A factory asks for what it needs of: `shape` (one image), `widths`
(one-hot widths of the table's columns), `missing` (the policy for missing table values), `features` (what a projector
gets), `norm`, `rngs`, `dtype`.
"""

from mmcl_jax.registry import Registry

ENCODERS = Registry("encoder")
PROJECTORS = Registry("projector")
