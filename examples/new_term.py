"""A term of your own: it learns where in the picture lies what the table says.

    python examples/new_term.py OUT

The term `attended` lets each row of the table look at the local features of its picture, and contrasts what it saw with
the row. It has two stages. `each` sees a few examples at a time, so that the local features of the whole batch are
never held at once; `loss` sees the whole batch. The program trains the term for an epoch of 21 steps on the digits that
ship with the package, on one device.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
from jaxtyping import Array

from mmcl_jax.config import load, projector, term
from mmcl_jax.datasets import digits
from mmcl_jax.objectives import TERMS, Each, Loss, Term, Whole
from mmcl_jax.objectives.pairs import contrast
from mmcl_jax.objectives.terms.labels import pairing
from mmcl_jax.prepare.make import prepare
from mmcl_jax.training.loop import Result, pretrain


@TERMS.register("attended")
def attended(
    *, between: tuple[str, str] = ("image.local", "table"), temperature: float = 0.1, weight: float = 1.0
) -> Term:
    r"""Contrast $t_i$ with $\sum_l a_{il} v_{il}$, where the weights $a_{il}$ are the softmax of $t_i \cdot v_{il}$.

    Keyword arguments with a default are options of the config: `--config.objective.0.temperature=0.2`.

    Args:
      between: the local features v and the pooled features t.
      temperature: of the contrast.
      weight: factor of this term in the objective.

    Raises:
      ValueError: the temperature is not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be positive, not {temperature}")

    def each(rows: Each) -> dict[str, Array]:
        local, table = rows.embeddings  # [b, L, d] and [b, d], behind their projectors
        weights = jax.nn.softmax(jnp.einsum("bld,bd->bl", local, table), axis=1)
        return {"seen": jnp.einsum("bl,bld->bd", weights, local), "table": table, "most": weights.max(axis=1)}

    def loss(batch: Whole) -> Loss:
        rule, metadata = pairing(batch)  # own pairs are positives; pairs count where both sides are present
        losses = contrast(
            batch.each["seen"],
            batch.each["table"],
            rule=rule,
            x_metadata=metadata,
            y_metadata=metadata,
            scale=1 / temperature,
            execution=batch.execution,
        )
        value = (losses.forward.mean() + losses.backward.mean()) / 2
        return Loss(value=value, metrics={"top1": losses.forward.accuracy(), "most": batch.mean(batch.each["most"])})

    return Term(name="attended", between=between, weight=weight, each=each, loss=loss, local=True)


def main(out: Path) -> Result:
    """Prepare the digits in a new folder, and train there."""
    store = prepare(digits.unpack(out / "raw"), out / "store")
    config = load("digits_mmcl", [f"data={store.directory}", "encoders.image.channels=(8, 16)", "log_every=1"])
    config.batch_size, config.epochs, config.batch_norm.group_size = 56, 1, 8
    config.schedule.warmup_epochs = 0
    config.projectors["image.local"] = projector("mlp", hidden=32, out=16)
    config.projectors["table"] = projector("mlp", hidden=32, out=16)
    del config.projectors["image"]
    config.objective = (term("attended", temperature=0.2),)
    return pretrain(config, out / "run", devices=jax.devices()[:1])


if __name__ == "__main__":
    print(main(Path(sys.argv[1])).describe())
