"""The operations of a ResNet, with the batch over eight devices."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from benchmarks.hlo import collectives
from mmcl_jax.encoders.operations.convolve import convolve
from mmcl_jax.encoders.operations.normalise import Form, normalised
from mmcl_jax.encoders.operations.pool import max_pool_3x3

pytestmark = pytest.mark.core


def test_one_message_sends_the_gradients_of_all_operations() -> None:
    """The choice by platform leaves no conditional, which would gather its operands."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))

    def loss(x, kernel, scale, bias) -> jax.Array:
        numbers = ("NHWC", "HWIO", "NHWC")
        y = convolve(max_pool_3x3(x), kernel, (1, 1), ((1, 1), (1, 1)), dimension_numbers=numbers)
        z, _ = normalised(Form(1e-5, relu=True, dtype=y.dtype), y.reshape(16, -1, 8), scale, bias, None)
        return jnp.square(z).sum()

    def given(shape, *axes) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=NamedSharding(mesh, PartitionSpec(*axes)))

    arguments = given((64, 4, 4, 8), "data"), given((3, 3, 8, 8)), given((8,)), given((8,))
    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)), out_shardings=tuple(one.sharding for one in arguments))
    text = gradients.lower(*arguments).compile().as_text()
    assert {name: total["count"] for name, total in collectives(text).items()} == {"all-reduce": 1}
    assert " conditional(" not in text
