"""What a view is, and the registry of them."""

import dataclasses
from collections.abc import Callable, Mapping

from jaxtyping import Array, Int, UInt32

from mmcl_jax.registry import Registry
from mmcl_jax.views.randomness import example_keys

VIEWS = Registry("view")


@dataclasses.dataclass(frozen=True)
class View:
    """What the model sees of one modality, which must be of the kind it takes: "image" or "table".

    `apply(values [B, ...], keys [B], population)` gives the view of every example; `population` is the encoded training
    table `[N, F]` for views that draw from it, None where there is none.
    """

    modality: str
    takes: str
    apply: Callable[[Array, Array, Array | None], Array]


def apply_views(
    views: Mapping[str, View],
    batch: Mapping[str, Array],
    *,
    seed: UInt32[Array, ""],
    step: Int[Array, ""],
    populations: Mapping[str, Array],
) -> dict[str, Array]:
    """Every view of a batch: `{view name: array}`.

    Args:
      views: by name; the name is also the view's random stream.
      batch: `id` uint32 [B] and one array per modality.
      seed: of the experiment.
      step: of training, so that every epoch sees another view.
      populations: encoded training rows by modality.
    """
    return {
        name: view.apply(
            batch[view.modality], example_keys(seed, step, name, batch["id"]), populations.get(view.modality)
        )
        for name, view in views.items()
    }
