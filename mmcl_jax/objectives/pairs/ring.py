"""Execution in which the columns travel from device to device, past the rows of every device."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from mmcl_jax.objectives.pairs.sums import Sums, packed, unpacked
from mmcl_jax.objectives.pairs.tiles import Side, Sweep


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ring:
    """Columns go around with their sums, and in the backward pass with their gradients; none is ever gathered."""

    sweep: Sweep
    devices: int

    def forward(self, x: Side, y: Side) -> tuple[Sums, Sums, Side]:
        """Return the sums of this device's rows and of its columns, and its columns, for `backward`."""
        merge = self.sweep.loss.merge

        def visit(carry: Any, _: None) -> tuple[Any, None]:
            y, rows, columns = carry
            following = self._pass_on(y)  # waits for no tile
            new_rows, new_columns = self.sweep.forward(x, y)
            return (following, merge(rows, new_rows), self._pass_on_sums(merge(columns, new_columns))), None

        start = y, self.sweep.empty(x.embeddings.shape[0]), self.sweep.empty(y.embeddings.shape[0])
        (_, rows, columns), _ = jax.lax.scan(visit, start, length=self.devices)
        return rows, columns, y

    def backward(self, x: Side, y: Side, x_residuals: Sums, y_residuals: Sums) -> tuple[Sums, Sums]:
        """Return the gradients with respect to this device's rows and columns."""

        def visit(carry: Any, _: None) -> tuple[Any, None]:
            (y, y_residuals), dx, dy = carry
            following = self._pass_on(y), self._pass_on_sums(y_residuals)
            more_dx, more_dy = self.sweep.backward(x, y, x_residuals, y_residuals)
            dx, dy = jax.tree.map(jnp.add, (dx, dy), (more_dx, more_dy))
            return (following, dx, self._pass_on(dy)), None

        start = (y, y_residuals), self.sweep.no_gradient(x), self.sweep.no_gradient(y)
        (_, dx, dy), _ = jax.lax.scan(visit, start, length=self.devices)
        return dx, dy

    def _pass_on(self, tree: Any) -> Any:
        """Send every array to the next device; after `devices` calls, each array is back on its first device."""
        if self.devices == 1:
            return tree
        turn = [(device, (device + 1) % self.devices) for device in range(self.devices)]
        return jax.tree.map(lambda array: jax.lax.ppermute(array, self.sweep.axes, turn), tree)

    def _pass_on_sums(self, sums: Sums) -> Sums:
        return unpacked(self._pass_on(packed(sums)), sums)
