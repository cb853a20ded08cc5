"""Options for single versions of the compiler."""

import os

import jax

_FUSION = "xla_cpu_experimental_ynn_fusion_type"


def compiler_options(device: jax.Device, dtype: str) -> dict[str, str | bool]:
    """Return options for `jax.jit` or `.compile` that avoid a bug of XLA and a slow form of its programs.

    On CPUs, JAX 0.12.0.1 computes garbage in fused bfloat16 convolutions (seen with two in a row), and the fusions of
    the same kind make float32 steps slower. The option turns them off. JAX 0.10.2 computes both rightly.

    Where `XLA_FLAGS` names the option, the user has chosen for float32.
    """
    if device.platform != "cpu" or (dtype != "bfloat16" and _FUSION in os.environ.get("XLA_FLAGS", "")):
        return {}
    return {_FUSION: ""}
