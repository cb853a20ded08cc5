"""What the order of the columns does to the encoder `resnet1d_cbam`, on the shipped digits.

The convolutions see neighbours, and the store's order puts columns of one family side by side, by their index: 6 of
morphology, 47 Zernike moments, 76 Fourier coefficients. The encoder and a linear head are trained with labels, from
scratch, with the columns in the store's order and in random orders. The accuracy is that on the validation and test
rows together; nothing was chosen by it. Orders share the seeds of initial weights and batches.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from mmcl_jax.datasets import digits
from mmcl_jax.encoders import resnet1d_cbam
from mmcl_jax.encoders.layers import linear
from mmcl_jax.encoders.resnet1d.sequence import column_order
from mmcl_jax.prepare.make import prepare

ROWS: dict[str, tuple[Literal["embedding", "one_channel"], ...]] = {
    "small": ("embedding",),
    "full": ("embedding", "one_channel"),
}
ORDERS = {"small": (None, 1, 2, 3), "full": (None, *range(1, 21))}
SEEDS = {"small": 3, "full": 10}
SIZES: dict[str, Any] = {"channels": 16, "depths": (1, 1, 1)}
EPOCHS, BATCH, RATE = 20, 120, 3e-3


def data(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the rows, standardised by the training rows, and the classes of "train" and of all other rows, "held"."""
    store = prepare(digits.unpack(folder), folder / "store")
    parts = {split: store.arrays(split) for split in store.sizes}
    rows = {split: np.asarray(part["table"], np.float32) for split, part in parts.items()}
    classes = {split: np.asarray(part["labels"])[:, 0].astype(np.int32) for split, part in parts.items()}
    mean, std = rows["train"].mean(axis=0), rows["train"].std(axis=0)
    held = [np.concatenate([parts["val"], parts["test"]]) for parts in (rows, classes)]
    return {"train": ((rows["train"] - mean) / std, classes["train"]), "held": ((held[0] - mean) / std, held[1])}


def trainer(row: Literal["embedding", "one_channel"], columns: int) -> Callable[..., float]:
    """Return a function that trains at a seed and returns the accuracy; its programs are compiled once.

    It takes columns that are in their order already, which is what the option `order` does inside the encoder.
    """

    def build(seed: int) -> nnx.Module:
        rngs = nnx.Rngs(seed)
        encoder = resnet1d_cbam(widths=(1,) * columns, row=row, rngs=rngs, **SIZES)
        return nnx.Dict(encoder=encoder, head=linear(encoder.out_features, 10, rngs=rngs, dtype=jnp.float32))

    graph, optimizer = nnx.graphdef(build(0)), optax.adamw(RATE, weight_decay=1e-4)

    @jax.jit
    def step(params: nnx.State, rest: nnx.State, moments: Any, rows: jax.Array, classes: jax.Array) -> Any:
        def loss(params: nnx.State) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            logits = model.head(model.encoder(rows, train=True).pooled)
            error = optax.softmax_cross_entropy_with_integer_labels(logits, classes).mean()
            return error, nnx.state(model, nnx.Not(nnx.Param))

        gradients, rest = jax.grad(loss, has_aux=True)(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return optax.apply_updates(params, updates), rest, moments

    @jax.jit
    def predicted(params: nnx.State, rest: nnx.State, rows: jax.Array) -> jax.Array:
        model = nnx.merge(graph, params, rest, copy=True)
        return model.head(model.encoder(rows, train=False).pooled).argmax(axis=1)

    def train(seed: int, rows: np.ndarray, classes: np.ndarray, held: np.ndarray, truth: np.ndarray) -> float:
        _, params, rest = nnx.split(build(seed), nnx.Param, ...)
        moments, rng = optimizer.init(params), np.random.default_rng(seed)
        for _ in range(EPOCHS):
            for chosen in rng.permutation(len(rows)).reshape(-1, BATCH):
                params, rest, moments = step(params, rest, moments, rows[chosen], classes[chosen])
        return float((np.asarray(predicted(params, rest, held)) == truth).mean())

    return train


def run(size: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each way to make a sequence of a row, and each order."""
    with tempfile.TemporaryDirectory() as folder:
        parts = data(Path(folder))
    (rows, classes), (held, truth) = parts["train"], parts["held"]
    for row in ROWS[size]:
        train = trainer(row, rows.shape[1])
        for order in ORDERS[size]:
            columns = column_order(rows.shape[1], order)
            found = [train(seed, rows[:, columns], classes, held[:, columns], truth) for seed in range(SEEDS[size])]
            yield {
                "row": row,
                "order": "of the store" if order is None else f"shuffled by {order}",
                "accuracy": float(np.mean(found)),
                "lowest": min(found),
                "highest": max(found),
                "seeds": len(found),
                "columns": rows.shape[1],
                "training rows": len(rows),
                "held-out rows": len(truth),
            }


def brief(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the columns to print."""
    return [{key: row[key] for key in ("row", "order", "accuracy", "lowest", "highest", "seeds")} for row in rows]
