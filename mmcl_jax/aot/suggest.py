"""Changes that make a step fit, each tried."""

from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from mmcl_jax.aot.needs import Needs
from mmcl_jax.errors import UserError

Tried = tuple[tuple[str, ...], Needs | str]
_SLICES = 3  # sizes of slices that are tried


def tried_changes(config: ConfigDict, needs: Needs, measure: Callable[[list[str]], Needs]) -> Iterator[Tried]:
    """Yield changes as overrides of the config, each with what the step then needs, or why it cannot be so.

    Slices of the batch are tried from the largest that may fit; the first that does is the last.

    Args:
      config: of a step that does not fit.
      needs: of that step.
      measure: compiles the step with further overrides.
    """

    def tried(overrides: list[str]) -> Tried:
        try:
            return tuple(overrides), measure(overrides)
        except UserError as error:
            return tuple(overrides), str(error)

    for size in slices(config, needs)[:_SLICES]:
        outcome = tried([f"micro_batch={size}"])
        yield outcome
        if not isinstance(outcome[1], str) and outcome[1].fits:
            break
    for overrides in others(config, needs.devices):
        yield tried(overrides)


def slices(config: ConfigDict, needs: Needs) -> list[int]:
    """Return sizes of slices of the batch, the largest that may fit first, as if memory grew with the rows alone.

    A slice gives every device whole groups of batch normalisation, so normalisation over the whole batch allows none.
    """
    group = config.batch_norm.group_size
    if group is None or needs.limit is None:
        return []
    unit, batch = group * needs.devices, config.micro_batch or config.batch_size
    sizes = [size for size in range(unit, batch, unit) if batch % size == 0 and config.batch_size % size == 0]
    held = needs.memory["state"] + needs.memory["input"]
    share = max(0.0, needs.limit - held) / max(1, needs.total - held)
    likely = [size for size in sizes if size <= share * batch]
    return likely[::-1] or sizes[:1]


def others(config: ConfigDict, devices: int) -> list[list[str]]:
    """Return the other changes that this config allows: remat, the ring of pairs, and divided parameters."""
    remat = [
        f"encoders.{name}.remat=blocks" for name, encoder in config.encoders.items() if encoder.get("remat") == "none"
    ]
    changes = [remat] if remat else []
    if config.pairs.execution != "ring" and devices > 1:
        changes.append(["pairs.execution=ring"])
    model = next((size for size in (8, 4, 2) if devices % size == 0 and size > config.mesh.model), None)
    if model is not None:
        changes.append([f"mesh.model={model}"])
    return changes
