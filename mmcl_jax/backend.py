"""What depends on the compiler's version."""

import jax


def compiler_options(device: jax.Device, dtype: str) -> dict[str, str | bool]:
    """Return options for `jax.jit` or `.compile` that keep XLA from a known fault.

    On CPUs, the fused bfloat16 convolutions of JAX 0.12.0.1 give garbage (seen with two in a row; those of 0.10.2, and
    float32, are right). Without that kind of fusion they are right; see `tests/test_backend.py`.
    """
    if device.platform == "cpu" and dtype == "bfloat16":
        return {"xla_cpu_experimental_ynn_fusion_type": ""}
    return {}
