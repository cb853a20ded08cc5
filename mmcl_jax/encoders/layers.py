"""The layers of all encoders, initialised as in PyTorch: linear, convolution, batch normalisation."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, DTypeLike, Float

from mmcl_jax.arrays import zero_absent
from mmcl_jax.encoders.operations.convolve import convolve
from mmcl_jax.encoders.operations.normalise import Form, Statistics, normalised
from mmcl_jax.encoders.statistics import Record, update_statistic

kaiming_fan_out = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
# The same of a layer without a ReLU behind it: the gain of torch.nn.init.kaiming_normal_ is 1, not the root of 2.
kaiming_fan_out_linear = nnx.initializers.variance_scaling(1.0, "fan_out", "normal")
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
        conv_general_dilated=convolve,
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
      passes: over the values for their statistics, 1 or 2; None chooses by the input's dtype (see `normalise.Form`).
    """

    def __init__(
        self,
        channels: int,
        *,
        group_size: int | None,
        momentum: float,
        epsilon: float,
        dtype: DTypeLike | None,
        passes: Literal[1, 2] | None = None,
    ) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.var = nnx.BatchStat(jnp.ones(channels))
        self.records = nnx.List([])  # of training calls with a mask `present`; see `statistics`
        self.group_size, self.momentum, self.epsilon = group_size, momentum, epsilon
        self.dtype, self.passes = dtype, passes

    def __call__(
        self,
        x: Float[Array, "B *space C"],
        *,
        train: bool,
        present: Bool[Array, "B *L"] | None = None,
        relu: bool = False,
    ) -> Float[Array, "B *space C"]:
        """Normalise `x`, and apply a ReLU to the result if asked for.

        `present` marks the rows `[B]`, or positions `[B, L]`, that exist; None is all.
        """
        if train and present is None and len(self.records) > 0:
            present = jnp.ones(len(x), bool)  # once a call was recorded, every later call is
        if present is not None:
            x = zero_absent(x, present)
        dtype = jnp.dtype(self.dtype or x.dtype)
        if not train:
            y = self._by_running_statistics(x).astype(dtype)
            y = nnx.relu(y) if relu else y
            return y if present is None else zero_absent(y, present)
        groups = 1 if self.group_size is None else x.shape[0] // self.group_size
        if self.group_size is not None and x.shape[0] % self.group_size:
            raise ValueError(f"a batch of {x.shape[0]} examples does not divide into groups of {self.group_size}")
        grouped, mask = x.reshape(groups, -1, x.shape[-1]), None
        if present is not None:
            mask = jnp.repeat(present.reshape(groups, -1), grouped.shape[1] * groups // present.size, axis=1)
        form = Form(epsilon=self.epsilon, relu=relu, dtype=dtype, passes=self.passes)
        y, of = normalised(form, grouped, self.scale[...], self.bias[...], mask)
        self._update_statistics(jax.lax.stop_gradient(of), recorded=mask is not None)
        return y.reshape(x.shape)

    def _by_running_statistics(self, x: Array) -> Array:
        factor = self.scale[...] * jax.lax.rsqrt(self.var[...] + self.epsilon)
        offset = self.bias[...] - self.mean[...] * factor
        factor, offset = (numbers.reshape([1] * (x.ndim - 1) + [-1]) for numbers in (factor, offset))
        return x.astype(jnp.float32) * factor + offset

    def _update_statistics(self, of: Statistics, *, recorded: bool) -> None:
        # `recorded` says that rows may be absent, so that groups may be empty and slices may differ in valid groups.
        new = {"mean": of.mean, "var": of.var * (of.counts / jnp.maximum(of.counts - 1, 1))}
        before = {"mean": self.mean[...], "var": self.var[...]}
        if not recorded:
            for name, stat in (("mean", self.mean), ("var", self.var)):
                stat[...] = self.momentum * before[name] + (1 - self.momentum) * new[name].mean(axis=(0, 1))
            return
        # An empty group adds the mean 0 and the variance 0 to the sums.
        valid, momentum = (of.counts > 0).sum(dtype=jnp.float32), jnp.float32(self.momentum)
        new = {name: value.sum(axis=(0, 1)) / jnp.maximum(valid, 1) for name, value in new.items()}
        self.records.append(Record({**new, "groups": valid, "momentum": momentum, "before": before}))
        for name, stat in (("mean", self.mean), ("var", self.var)):
            stat[...] = update_statistic(before[name], new[name], momentum=momentum, groups=valid)


def batch_norm(channels: int) -> BatchNorm:
    """Return batch normalisation over the whole batch, as in PyTorch; it is the default of all encoders."""
    return BatchNorm(channels, group_size=None, momentum=0.9, epsilon=1e-5, dtype=None)


def norm_relu(norm: nnx.Module, x: Array, *, train: bool, present: Array | None = None) -> Array:
    """Return the ReLU of the normalised values; `BatchNorm` has one gradient for both.

    Example:
      >>> norm_relu(batch_norm(1), jnp.array([[1.0], [3.0]]), train=True).round(3).tolist()
      [[0.0], [1.0]]
    """
    if isinstance(norm, BatchNorm):
        return norm(x, train=train, present=present, relu=True)
    return nnx.relu(norm(x, train=train, present=present))


def maximum(x: Float[Array, "*shape"], axis: int) -> Float[Array, "*reduced"]:
    """Return the maximum along an axis; its gradient goes to the first element that is the maximum.

    The gradient of `x.max()` goes to all elements that equal the maximum, divided by their number. Where a compiler
    computes x again with another rounding, no element does, and the gradient is infinite (seen on CPUs).
    """
    first = jnp.expand_dims(x.argmax(axis=axis), axis)
    index = jnp.arange(x.shape[axis]).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
    return jnp.where(index == first, x, jnp.zeros((), x.dtype)).sum(axis=axis)
