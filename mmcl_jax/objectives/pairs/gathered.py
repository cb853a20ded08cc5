"""Execution in which every device gathers all columns and pairs them with its own rows."""

import dataclasses
from typing import Any

import jax
from jaxtyping import Array

from mmcl_jax.objectives.pairs.sums import Sums, packed, unpacked
from mmcl_jax.objectives.pairs.tiles import Side, Sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gathered:
    """One all-gather of the columns, one all-to-all of their sums, one reduce-scatter of their gradients."""

    sweep: Sweep
    devices: int

    def forward(self, x: Side, y: Side) -> tuple[Sums, Sums, Side]:
        """Return the sums of this device's rows and of its columns, and all columns, for `backward`."""
        columns = self._gather(y)
        rows, partial = self.sweep.forward(x, columns)
        return rows, self._exchange(partial), columns

    def backward(self, x: Side, y: Side, x_residuals: Sums, y_residuals: Sums) -> tuple[Sums, Sums]:
        """Return the gradients with respect to this device's rows and columns; `y` is all columns."""
        dx, dy = self.sweep.backward(x, y, x_residuals, self._gather_packed(y_residuals))
        if self.devices > 1:
            dy = jax.lax.psum_scatter(dy, self.sweep.axes, tiled=True)
        return dx, dy

    def _gather(self, tree: Any) -> Any:
        if self.devices == 1:
            return tree
        return jax.tree.map(lambda array: jax.lax.all_gather(array, self.sweep.axes, tiled=True), tree)

    def _gather_packed(self, sums: Sums) -> Sums:
        """Gather arrays [b] in one message."""
        if self.devices == 1:
            return sums
        return unpacked(jax.lax.all_gather(packed(sums), self.sweep.axes, axis=1, tiled=True), sums)

    def _exchange(self, partial: Sums) -> Sums:
        """Turn sums of all columns over this device's rows into sums of this device's columns over all rows."""
        if self.devices == 1:
            return partial
        by_device = packed(partial).reshape(len(partial), self.devices, -1)
        received = jax.lax.all_to_all(by_device, self.sweep.axes, split_axis=1, concat_axis=1)

        def merge(sums: Sums, more: Array) -> tuple[Sums, None]:
            return self.sweep.loss.merge(sums, unpacked(more, sums)), None

        return jax.lax.scan(merge, self.sweep.empty(received.shape[2]), received.swapaxes(0, 1))[0]
