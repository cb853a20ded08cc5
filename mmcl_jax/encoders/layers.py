"""The layers every encoder is made of, with PyTorch's initialisation: linear, convolution, batch normalisation."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

kaiming_fan_out = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
kaiming_fan_in = nnx.initializers.variance_scaling(2.0, "fan_in", "normal")
# torch.nn.Linear: uniform in +-1/sqrt(fan_in), whose variance is 1 / (3 fan_in).
torch_linear = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")

Norm = Callable[[int], nnx.Module]


def linear(
    inputs: int,
    outputs: int,
    *,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
    kernel_init: nnx.Initializer = torch_linear,
    zero_bias: bool = False,
    bias: bool = True,
) -> nnx.Linear:
    """A fully connected layer, by default initialised as PyTorch does (kernel and bias uniform)."""
    bound = 1 / math.sqrt(inputs)

    def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    bias_init = nnx.initializers.zeros_init() if zero_bias else uniform
    return nnx.Linear(
        inputs, outputs, use_bias=bias, kernel_init=kernel_init, bias_init=bias_init, dtype=dtype, rngs=rngs
    )


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, rngs: nnx.Rngs, dtype: DTypeLike) -> nnx.Conv:
    """A square convolution without bias, padded by kernel // 2 on every side; Kaiming-normal over the fan-out.

    The padding is explicit because XLA's "SAME" pads unevenly at stride 2, unlike PyTorch.
    """
    return nnx.Conv(
        inputs,
        outputs,
        (kernel, kernel),
        strides=stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=kaiming_fan_out,
        dtype=dtype,
        rngs=rngs,
    )


class BatchNorm(nnx.Module):
    """Batch normalisation within fixed-size groups of the batch.

    Training normalises examples 0..g-1, g..2g-1, ... each by their own mean and variance, so the result does not
    depend on how the batch is spread over devices or cut into micro-batches, and needs no communication as long as a
    group lies on one device. `group_size=None` normalises over the whole (global) batch. The running statistics, which
    are what evaluation uses, are averages over the groups; the running variance is the unbiased one, as in PyTorch.

    Args:
      channels: size of the last axis.
      group_size: examples per group, or None for all.
      momentum: share of the old running statistics that is kept (PyTorch's 0.1 is 0.9 here).
      epsilon: added to the variance.
      dtype: of the result; statistics are float32.
    """

    def __init__(
        self, channels: int, *, group_size: int | None, momentum: float, epsilon: float, dtype: DTypeLike
    ) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.group_size, self.momentum, self.epsilon, self.dtype = group_size, momentum, epsilon, dtype

    def __call__(self, x: Float[Array, "B *space C"], *, train: bool) -> Float[Array, "B *space C"]:
        channels = x.shape[-1]
        if not train:
            return self._normalise(x.reshape(1, -1, channels), self.mean[...], self.var[...]).reshape(x.shape)
        groups = 1 if self.group_size is None else x.shape[0] // self.group_size
        if self.group_size is not None and x.shape[0] % self.group_size:
            raise ValueError(f"a batch of {x.shape[0]} does not divide into groups of {self.group_size}")
        grouped = x.reshape(groups, -1, channels)
        values = grouped.astype(jnp.float32)
        mean = values.mean(axis=1, keepdims=True)
        var = jnp.square(values - mean).mean(axis=1, keepdims=True)
        self._remember(mean, var, count=grouped.shape[1])
        return self._normalise(grouped, mean, var).reshape(x.shape)

    def _normalise(self, x: Array, mean: Array, var: Array) -> Array:
        # mean and var are [C] or [G, 1, C]; scale and bias are [C].
        scale = self.scale[...].reshape(1, 1, -1)
        mean, var = mean.reshape(-1, 1, scale.shape[-1]), var.reshape(-1, 1, scale.shape[-1])
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        offset = self.bias[...].reshape(1, 1, -1) - mean * factor
        return (x.astype(jnp.float32) * factor + offset).astype(self.dtype)

    def _remember(self, mean: Array, var: Array, *, count: int) -> None:
        unbiased = var * (count / max(count - 1, 1))
        for stat, new in ((self.mean, mean), (self.var, unbiased)):
            new = jax.lax.stop_gradient(new.mean(axis=(0, 1)))
            stat[...] = self.momentum * stat[...] + (1 - self.momentum) * new


def max_pool_3x3(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """3x3 maximum at stride 2, padded by 1 with minus infinity, as in torchvision's stem."""
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
