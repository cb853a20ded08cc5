"""The length of a training, and the warm-up that has to fit into it."""

from collections.abc import Iterable

from ml_collections import ConfigDict

_EPOCHS, _WARMUP = "epochs", "schedule.warmup_epochs"


def shorten_warmup(config: ConfigDict, epochs: int, overrides: Iterable[str]) -> str | None:
    """Shorten the warm-up in proportion, in place, if the overrides shorten the training and do not set the warm-up.

    Args:
      config: the config after the overrides.
      epochs: number of epochs before the overrides.
      overrides: texts `key.path=value`.

    Returns:
      A log line that says what was changed, or None.
    """
    keys = {override.partition("=")[0] for override in overrides}
    warmup, new_epochs = config.schedule.get("warmup_epochs"), config.epochs
    if (
        _EPOCHS not in keys
        or _WARMUP in keys
        or not _is_length(warmup)
        or not _is_length(new_epochs)
        or new_epochs >= epochs
    ):
        return None
    shorter = min(round(warmup * new_epochs / epochs), new_epochs - 1)
    if shorter == warmup:
        return None
    config.schedule.warmup_epochs = shorter
    return (
        f"warm-up of {shorter} epochs instead of {warmup}, in proportion to {new_epochs} epochs instead of {epochs}; "
        f"--config.{_WARMUP}=EPOCHS sets another length"
    )


def keep_warmup(config: ConfigDict, stored: ConfigDict, overrides: Iterable[str]) -> None:
    """Copy the warm-up of the `stored` config of a run that continues at the same length, unless the overrides set it.

    Versions up to 0.1.0 did not shorten the warm-up.
    """
    keys = {override.partition("=")[0] for override in overrides}
    if _WARMUP not in keys and config.epochs == stored.epochs and "warmup_epochs" in config.schedule:
        config.schedule.warmup_epochs = stored.schedule.get("warmup_epochs", config.schedule.warmup_epochs)


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
