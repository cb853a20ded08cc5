"""The layers of all encoders, initialised as in PyTorch: linear, convolution, batch normalisation."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.statistics import Record, update_statistic

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
    """Return a fully connected layer, initialised by default as in PyTorch (kernel and bias uniform)."""
    bound = 1 / math.sqrt(inputs)

    def uniform(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    bias_init = nnx.initializers.zeros_init() if zero_bias else uniform
    return nnx.Linear(
        inputs, outputs, use_bias=bias, kernel_init=kernel_init, bias_init=bias_init, dtype=dtype, rngs=rngs
    )


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    stride: int = 1,
    dimensions: int = 2,
    rngs: nnx.Rngs,
    dtype: DTypeLike,
) -> nnx.Conv:
    """Return a square or cubic convolution without bias, padded by kernel // 2 on every side; Kaiming-normal (fan-out).

    The padding is explicit because XLA's "SAME" pads unevenly at stride 2, unlike PyTorch.
    """
    return nnx.Conv(
        inputs,
        outputs,
        (kernel,) * dimensions,
        strides=stride,
        padding=kernel // 2,
        use_bias=False,
        kernel_init=kaiming_fan_out,
        dtype=dtype,
        rngs=rngs,
    )


class BatchNorm(nnx.Module):
    """Batch normalisation within fixed-size groups of the batch.

    In training each of the groups 0..g-1, g..2g-1, ... of the batch is normalised by its own mean and variance. So the
    result does not depend on how the batch is divided over devices or into micro-batches, and no communication is
    needed as long as a group lies on one device. `group_size=None` normalises over the whole (global) batch. Evaluation
    uses the running statistics, which are averages over the groups; the running variance is unbiased, as in PyTorch.

    Absent rows enter no mean and no variance, and their results are zeros. A group without present rows does not enter
    the running statistics.

    Args:
      channels: size of the last axis.
      group_size: examples per group; None for the whole batch.
      momentum: weight of the old running statistics in the new ones (0.9 is PyTorch's 0.1).
      epsilon: added to the variance.
      dtype: of the result, None for that of the input; statistics are float32.
    """

    def __init__(
        self, channels: int, *, group_size: int | None, momentum: float, epsilon: float, dtype: DTypeLike | None
    ) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.records = nnx.List([])  # of training calls with a mask `present`; see `statistics`
        self.group_size, self.momentum, self.epsilon, self.dtype = group_size, momentum, epsilon, dtype

    def __call__(
        self, x: Float[Array, "B *space C"], *, train: bool, present: Bool[Array, "B *L"] | None = None
    ) -> Float[Array, "B *space C"]:
        """Normalise `x`; `present` marks the rows `[B]`, or positions `[B, L]`, that exist, None for all."""
        channels = x.shape[-1]
        if train and present is None and len(self.records) > 0:
            present = jnp.ones(len(x), bool)  # once a call was recorded, every later call is
        if present is not None:
            x = zero_absent(x, present)
        if not train:
            y = self._normalise(x.reshape(1, -1, channels), self.mean[...], self.var[...]).reshape(x.shape)
            return y if present is None else zero_absent(y, present)
        groups = 1 if self.group_size is None else x.shape[0] // self.group_size
        if self.group_size is not None and x.shape[0] % self.group_size:
            raise ValueError(f"a batch of {x.shape[0]} examples does not divide into groups of {self.group_size}")
        grouped = x.reshape(groups, -1, channels)
        values = grouped.astype(jnp.float32)
        if present is not None:
            return zero_absent(self._masked(values, present).astype(self.dtype or x.dtype).reshape(x.shape), present)
        mean = values.mean(axis=1, keepdims=True)
        var = jnp.square(values - mean).mean(axis=1, keepdims=True)
        self._update_statistics(mean, var, count=grouped.shape[1])
        return self._normalise(grouped, mean, var).reshape(x.shape)

    def _masked(self, values: Array, present: Array) -> Array:
        # `values` are 0 in absent rows; `counts` [G, 1, 1] is the number of present values in each group.
        groups, size, _ = values.shape
        mask = jnp.repeat(present.reshape(groups, -1), size * groups // present.size, axis=1)
        counts = mask.sum(axis=1, dtype=jnp.float32)[:, None, None]
        mean = values.sum(axis=1, keepdims=True) / jnp.maximum(counts, 1)
        var = zero_absent(jnp.square(values - mean), mask).sum(axis=1, keepdims=True) / jnp.maximum(counts, 1)
        unbiased = var * (counts / jnp.maximum(counts - 1, 1))
        valid = (counts > 0).sum(dtype=jnp.float32)
        # An empty group adds the mean 0 and the variance 0 to the sums.
        new = {"mean": mean.sum(axis=(0, 1)), "var": unbiased.sum(axis=(0, 1))}
        new = {name: jax.lax.stop_gradient(value) / jnp.maximum(valid, 1) for name, value in new.items()}
        before = {"mean": self.mean[...], "var": self.var[...]}
        momentum = jnp.float32(self.momentum)
        self.records.append(Record({**new, "groups": valid, "momentum": momentum, "before": before}))
        for name, stat in (("mean", self.mean), ("var", self.var)):
            stat[...] = update_statistic(stat[...], new[name], momentum=momentum, groups=valid)
        # Unlike in `_normalise`, a group of one vector gives exactly the bias, so that no ReLU depends on rounding.
        scale, bias = (param[...].reshape(1, 1, -1) for param in (self.scale, self.bias))
        return (values - mean) * (scale * jax.lax.rsqrt(var + self.epsilon)) + bias

    def _normalise(self, x: Array, mean: Array, var: Array) -> Array:
        # mean and var are [C] or [G, 1, C]; scale and bias are [C].
        scale = self.scale[...].reshape(1, 1, -1)
        mean, var = mean.reshape(-1, 1, scale.shape[-1]), var.reshape(-1, 1, scale.shape[-1])
        factor = scale * jax.lax.rsqrt(var + self.epsilon)
        offset = self.bias[...].reshape(1, 1, -1) - mean * factor
        return (x.astype(jnp.float32) * factor + offset).astype(self.dtype or x.dtype)

    def _update_statistics(self, mean: Array, var: Array, *, count: int) -> None:
        unbiased = var * (count / max(count - 1, 1))
        for stat, new in ((self.mean, mean), (self.var, unbiased)):
            new = jax.lax.stop_gradient(new.mean(axis=(0, 1)))
            stat[...] = self.momentum * stat[...] + (1 - self.momentum) * new


def batch_norm(channels: int) -> BatchNorm:
    """Return batch normalisation over the whole batch, as in PyTorch; it is the default of all encoders."""
    return BatchNorm(channels, group_size=None, momentum=0.9, epsilon=1e-5, dtype=None)


def max_pool_3x3(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Return the 3x3 maximum at stride 2, padded by 1 with minus infinity, as in torchvision's stem."""
    return nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))


def maximum(x: Float[Array, "*shape"], axis: int) -> Float[Array, "*reduced"]:
    """Return the maximum along an axis; its gradient goes to the first element that is the maximum.

    The gradient of `x.max()` goes to all elements that equal the maximum, divided by their number. Where a compiler
    computes x again with another rounding, no element does, and the gradient is infinite (seen on CPUs).
    """
    first = jnp.expand_dims(x.argmax(axis=axis), axis)
    index = jnp.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return jnp.where(index == first, x, jnp.zeros((), x.dtype)).sum(axis=axis)
