"""The all-pairs kernel in a training loop that knows nothing of this package: plain JAX and Optax, on all devices.

    python examples/foreign_loop.py

Two linear towers learn to match drawn images with drawn tables. Samples of one patient do not repel each other, and
every fifth sample has no table.
"""

import jax
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mmcl_jax.objectives import pairs

RULE = pairs.rules.exclude(pairs.rules.identity(), "patient")


def draw(rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
    """Return a batch: images and tables of the same causes, the patient, and who has a table."""
    causes, mixing = rng.normal(size=(samples, 8)), np.random.default_rng(0).normal(size=(8, 76))
    both = (causes @ mixing + 0.5 * rng.normal(size=(samples, 76))).astype(np.float32)
    numbers = np.arange(samples)
    return {"image": both[:, :64], "table": both[:, 64:], "patient": numbers // 3, "present": numbers % 5 != 4}


def train(steps: int = 50, samples: int = 256, execution: str = "gathered") -> list[float]:
    """Return the loss of every step."""
    mesh = Mesh(jax.devices(), ("data",))
    by_row = NamedSharding(mesh, PartitionSpec("data"))
    keys = jax.random.split(jax.random.key(0))
    weights = {"image": jax.random.normal(keys[0], (64, 16)) / 8, "table": jax.random.normal(keys[1], (12, 16)) / 3}
    optimizer = optax.adam(1e-2)
    state = optimizer.init(weights)

    def loss(weights: dict[str, jax.Array], batch: dict[str, jax.Array]) -> jax.Array:
        image, table = (batch[name] @ weights[name] for name in ("image", "table"))
        more = {"metadata": {"patient": batch["patient"]}, "present": batch["present"]}
        return pairs.contrast(image, table, rule=RULE, temperature=0.1, execution=execution, mesh=mesh, **more).mean()

    @jax.jit
    def step(weights, state, batch):
        value, gradients = jax.value_and_grad(loss)(weights, batch)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(weights, updates), state, value

    rng, values = np.random.default_rng(1), []
    for _ in range(steps):
        weights, state, value = step(weights, state, jax.device_put(draw(rng, samples), by_row))
        values.append(float(value))
    return values


if __name__ == "__main__":
    losses = train()
    print(f"on {jax.device_count()} devices, from {losses[0]:.2f} to {losses[-1]:.2f}")
