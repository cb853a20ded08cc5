"""The compiler does what it should, with our options."""

import jax
import jax.numpy as jnp
import pytest

from mmcl_jax.backend import compiler_options

pytestmark = pytest.mark.core


def test_chained_bfloat16_convolutions_are_right() -> None:
    key = jax.random.key(0)

    def block(x: jax.Array, kernel: jax.Array) -> jax.Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(x, kernel, (1, 1), [(1, 1)] * 2, dimension_numbers=numbers)
        return jax.nn.relu(x + (y.astype(jnp.float32) * 0.7 + 0.1).astype(x.dtype))

    def chain(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return block(block(block(x, kernel), kernel), kernel).mean(axis=(1, 2)).astype(jnp.float32)

    x = jax.random.normal(key, (104, 4, 4, 64)) * 0.1
    kernel = jax.random.normal(key, (3, 3, 64, 64)) * 0.1
    options = compiler_options(jax.devices()[0], "bfloat16")
    half = jax.jit(chain, compiler_options=options)(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16))
    full = jax.jit(chain)(x, kernel)
    assert float(jnp.abs(half - full).max() / jnp.abs(full).max()) < 0.03


def test_who_names_the_option_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    device, option = jax.devices()[0], "xla_cpu_experimental_ynn_fusion_type"
    assert compiler_options(device, "float32") == compiler_options(device, "bfloat16") == {option: ""}
    monkeypatch.setenv("XLA_FLAGS", f"--{option}=")
    assert compiler_options(device, "float32") == {}
    assert compiler_options(device, "bfloat16") == {option: ""}  # it would compute garbage


def test_other_platforms_have_no_options() -> None:
    class Device:
        platform = "tpu"

    assert compiler_options(Device(), "bfloat16") == {}
