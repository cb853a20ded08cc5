"""A term of your own: it learns where in the image lies what the table says.

    python examples/new_term.py OUT

A row of the table looks at the local features of its image, and is contrasted with what it saw. `each` sees some rows
at a time, so the local features of the whole batch are never held at once; `loss` sees the whole batch.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

import mmcl_jax as mj
from mmcl_jax.config import load, projector, term
from mmcl_jax.datasets import digits
from mmcl_jax.objectives import TERMS, Loss, Term
from mmcl_jax.objectives.terms.labels import pairing


@TERMS.register("attended")
def attended(*, between: tuple[str, str] = ("image.local", "table"), temperature: float = 0.1, weight: float = 1.0):
    r"""Contrast $t_i$ with $\sum_l a_{il} v_{il}$, where the weights $a_{il}$ are the softmax of $t_i \cdot v_{il}$.

    Keywords with a default are keys of the config, such as `--config.objective.0.temperature=0.2`.
    """

    def each(rows):
        local, table = rows.embeddings  # [b, L, d] and [b, d], behind their projectors
        weights = jax.nn.softmax(jnp.einsum("bld,bd->bl", local, table), axis=1)
        return {"attended": jnp.einsum("bl,bld->bd", weights, local), "table": table, "most": weights.max(axis=1)}

    def loss(batch):
        rule, metadata = pairing(batch)  # rows are positives of themselves, and count where both sides are present
        both, options = (batch.each["attended"], batch.each["table"]), {"rule": rule, "execution": batch.execution}
        losses = mj.pairs.contrast(*both, x_metadata=metadata, y_metadata=metadata, temperature=temperature, **options)
        return Loss(value=losses.mean(), metrics={"most": batch.mean(batch.each["most"])})

    return Term(name="attended", between=between, weight=weight, each=each, loss=loss, local=True)


def main(out: Path) -> mj.Run:
    """Train the term for an epoch on the digits that ship with the package, in a new folder."""
    store = mj.prepare(request=vars(digits.unpack(out / "raw")), out=out / "store")
    config = load(
        "digits_mmcl",
        ["encoders.image.channels=(8, 16)", "epochs=1", "schedule.warmup_epochs=0", "monitor.epochs=None"],
    )
    config.batch_size, config.batch_norm.group_size, config.log_every = 64, 8, 1
    config.projectors = {name: projector("mlp", hidden=32, out=16) for name in ("image.local", "table")}
    config.objective = (term("attended", temperature=0.2),)
    return mj.pretrain(config, out / "run", data=store)


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
