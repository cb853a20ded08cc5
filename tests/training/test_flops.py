"""FLOPs of products, counted from the traced program."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import Mesh, PartitionSpec

from mmcl_jax.training.flops import RECOMPUTED, flops_of, flops_of_jaxpr, model_flops

X, W = jnp.ones((8, 3)), jnp.ones((3, 3))
ONCE = 2.0 * 8 * 3 * 3  # of x @ w


def product(x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.tanh(x @ w)


@jax.custom_vjp
def custom(x: jax.Array, w: jax.Array) -> jax.Array:
    return product(x, w)


custom.defvjp(lambda x, w: (product(x, w), (x, w)), lambda saved, g: (g @ saved[1].T, saved[0].T @ g))


@jax.custom_jvp
def custom_jvp(x: jax.Array, w: jax.Array) -> jax.Array:
    return product(x, w)


custom_jvp.defjvp(lambda primals, tangents: jax.jvp(product, primals, tangents))


def looped(x: jax.Array, w: jax.Array) -> jax.Array:
    def repeated(function: Callable[[jax.Array], jax.Array], x: jax.Array, times: int) -> jax.Array:
        return jax.lax.scan(lambda x, _: (function(x), None), x, length=times)[0]

    return repeated(lambda x: repeated(lambda x: product(x, w), x, 5), x, 3)


def divided(x: jax.Array, w: jax.Array) -> jax.Array:
    mesh = Mesh(jax.devices()[:4], ("data",))
    specs = PartitionSpec("data"), PartitionSpec()
    return jax.shard_map(product, mesh=mesh, in_specs=specs, out_specs=specs[0])(x, w)


FORMS: dict[str, tuple[Callable[..., Any], float]] = {
    "product": (product, 1),
    "batched": (lambda x, w: jax.vmap(lambda row: product(row[None], w))(x), 1),
    "jit": (jax.jit(product), 1),
    "scan in scan": (looped, 15),
    "fori_loop": (lambda x, w: jax.lax.fori_loop(0, 7, lambda _, x: product(x, w), x), 7),
    "while_loop, counted once": (lambda x, w: jax.lax.while_loop(lambda x: x[0, 0] < 0, lambda x: product(x, w), x), 1),
    "cond, its dearest branch": (
        lambda x, w: jax.lax.cond(x[0, 0] > 0, product, lambda x, w: product(product(x, w), w), x, w),
        2,
    ),
    "map": (lambda x, w: jax.lax.map(lambda row: row @ w, x), 1),
    "custom_vjp": (custom, 1),
    "custom_jvp": (custom_jvp, 1),
    "shard_map": (divided, 1),
    "gradients": (jax.grad(lambda x, w: product(x, w).sum(), argnums=(0, 1)), 3),
    "gradients of custom_vjp": (jax.grad(lambda x, w: custom(x, w).sum(), argnums=(0, 1)), 3),
    "no product": (lambda x, w: x.sum() + w.sum(), 0),
}


@pytest.mark.parametrize("name", FORMS)
def test_products_in_every_form_of_a_program(name: str) -> None:
    function, times = FORMS[name]
    assert flops_of(function, X, W) == times * ONCE
    assert flops_of(function, jax.ShapeDtypeStruct(X.shape, X.dtype), W) == times * ONCE


def convolved(x: jax.Array, kernel: jax.Array, *, padding: Any, **options: Any) -> jax.Array:
    space = "HWD"[: x.ndim - 2]
    numbers = (f"N{space}C", f"{space}IO", f"N{space}C")
    options = {"window_strides": (1,) * len(space), **options}
    return jax.lax.conv_general_dilated(x, kernel, padding=padding, dimension_numbers=numbers, **options)


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "one pixel": ((2, 5, 5, 3), (1, 1, 3, 4), {"padding": "VALID"}),
    "same": ((2, 7, 6, 3), (3, 3, 3, 4), {"padding": "SAME"}),
    "strided": ((2, 9, 8, 3), (3, 3, 3, 4), {"padding": "SAME", "window_strides": (2, 2)}),
    "dilated": ((2, 9, 9, 3), (3, 3, 3, 4), {"padding": "SAME", "rhs_dilation": (2, 2)}),
    "transposed": ((2, 4, 4, 3), (3, 3, 3, 4), {"padding": ((2, 1), (1, 2)), "lhs_dilation": (2, 2)}),
    "grouped": ((2, 6, 6, 4), (3, 3, 2, 4), {"padding": "SAME", "feature_group_count": 2}),
    "in line": ((2, 9, 3), (5, 3, 4), {"padding": "SAME", "window_strides": (2,)}),
    "in space": ((1, 4, 5, 6, 2), (3, 3, 3, 2, 2), {"padding": "SAME"}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_and_their_gradients_cost_the_same(name: str) -> None:
    x, kernel, options = CONVOLUTIONS[name]
    function = functools.partial(convolved, **options)
    arguments = jax.ShapeDtypeStruct(x, jnp.float32), jax.ShapeDtypeStruct(kernel, jnp.float32)
    flops = flops_of(function, *arguments)
    # XLA counts the same products before it compiles.
    counted: Any = jax.jit(function).lower(*arguments).cost_analysis()
    assert flops == counted["flops"]

    def gradients(x: jax.Array, kernel: jax.Array) -> Any:
        return jax.grad(lambda *arguments: function(*arguments).sum(), argnums=(0, 1))(x, kernel)

    assert flops_of(gradients, *arguments) == 3 * flops


def test_what_is_computed_again_is_left_out_on_request() -> None:
    def loss(w: jax.Array) -> jax.Array:
        with jax.named_scope("views"):
            x = X @ jnp.eye(3)
        return jax.checkpoint(product)(product(x, w), w).sum()

    def cached(w: jax.Array) -> Any:
        with jax.named_scope("again"):
            _, pullback = jax.vjp(loss, w)
        return pullback(1.0)

    # Augmentation, two products forward; again the second; backward two for each weight and one for the inner input.
    executed, model = 1 + 2 + 1 + 3, 2 + 3
    jaxpr = jax.make_jaxpr(jax.grad(loss))(W)
    assert flops_of_jaxpr(jaxpr) == executed * ONCE
    assert flops_of_jaxpr(jaxpr, without=RECOMPUTED) == (executed - 1) * ONCE
    assert model_flops(jaxpr) == model * ONCE
    assert flops_of(jax.jit(cached), W, without=RECOMPUTED) == 3 * ONCE
