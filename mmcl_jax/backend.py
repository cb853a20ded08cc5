"""Workarounds for single versions of the compiler."""

import jax


def compiler_options(device: jax.Device, dtype: str) -> dict[str, str | bool]:
    """Return options for `jax.jit` or `.compile` that avoid a known bug of XLA.

    On CPUs, JAX 0.12.0.1 computes garbage in fused bfloat16 convolutions (seen with two in a row). The option turns
    that fusion off. JAX 0.10.2 and float32 are right without it; see `tests/test_backend.py`.
    """
    if device.platform == "cpu" and dtype == "bfloat16":
        return {"xla_cpu_experimental_ynn_fusion_type": ""}
    return {}
