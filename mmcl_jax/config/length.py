"""The length of a training, and what has to fit into it."""

from collections.abc import Iterable

from ml_collections import ConfigDict

_EPOCHS, _WARMUP = "epochs", "schedule.warmup_epochs"


def shorten_warmup(config: ConfigDict, epochs: int, overrides: Iterable[str]) -> str | None:
    """Shorten the warm-up in proportion, in place, if the overrides made the training shorter and do not set it.

    Args:
      config: after the overrides.
      epochs: of the config before the overrides.
      overrides: texts `key.path=value`.

    Returns:
      What was done, in a sentence, or None.
    """
    keys = {override.partition("=")[0] for override in overrides}
    warmup, asked = config.schedule.get("warmup_epochs"), config.epochs
    if _EPOCHS not in keys or _WARMUP in keys or not _is_length(warmup) or not _is_length(asked) or asked >= epochs:
        return None
    shorter = min(round(warmup * asked / epochs), asked - 1)
    if shorter == warmup:
        return None
    config.schedule.warmup_epochs = shorter
    return (
        f"warm-up of {shorter} epochs instead of {warmup}, in proportion to {asked} epochs instead of {epochs}; "
        f"--config.{_WARMUP} sets another"
    )


def keep_warmup(config: ConfigDict, begun: ConfigDict, overrides: Iterable[str]) -> None:
    """Take over the warm-up of the run of this length that is continued, unless the overrides set it.

    Versions up to 0.1.0 did not shorten it.
    """
    keys = {override.partition("=")[0] for override in overrides}
    if _WARMUP not in keys and config.epochs == begun.epochs and "warmup_epochs" in config.schedule:
        config.schedule.warmup_epochs = begun.schedule.get("warmup_epochs", config.schedule.warmup_epochs)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
