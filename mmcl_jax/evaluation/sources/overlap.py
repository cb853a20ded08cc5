"""Rows that a run has seen must not be its test."""

from collections.abc import Sequence

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.page.wording import counted
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.seen import Seen


def check_overlap(runs: Sequence[Run], store: Store, *, allow: bool) -> list[str]:
    """Compare the rows that the runs have seen with the test split of a store.

    Rows are the same if their key or their picture is. On the store that a run was trained on, nothing is compared: its
    splits share no row.

    Args:
      runs: any number, trained on the same store or on different ones.
      store: to be evaluated on.
      allow: whether test rows that a run has seen are only remarked on.

    Returns:
      A sentence on every run whose rows could not be compared, or that has seen rows of the store.

    Raises:
      UserError: a run has seen rows of the test split, unless `allow`.
    """
    others = [run for run in runs if run.fingerprint != store.fingerprint]
    if not others:
        return []
    store.arrays("test")  # its pictures are written again if they were deleted
    here = Seen.of(store, tuple(store.sizes))
    remarks = []
    for run in others:
        seen = _seen(run)
        if seen is None:
            remarks.append(
                f"{run.directory} does not say which rows it was trained on, and its own store is not there: whether "
                f"{store.directory} holds some of them in its test split could not be checked."
            )
            continue
        trained, watched = (seen.common(split, here, "test") for split in ("train", "val"))
        if trained or watched:
            sentence = (
                f"Of the {counted(store.sizes['test'], 'test row')} of {store.directory}, {run.directory} was trained "
                f"on {trained} and watched {watched} as validation rows (the same key or picture)"
            )
            check(allow, f"{sentence}: scores would flatter; evaluate on other rows, or allow it with --allow-overlap.")
            remarks.append(f"{sentence}: scores flatter.")
        if chosen := seen.common("train", here, "val"):
            remarks.append(
                f"{run.directory} was trained on {chosen} of the {counted(store.sizes['val'], 'validation row')} of "
                f"{store.directory}, by which settings are chosen."
            )
    return remarks


def _seen(run: Run) -> Seen | None:
    """Return what the run has seen; of runs of earlier versions their own store says it, if it is there."""
    seen = Seen.read(run.directory)
    if seen is not None:
        return seen
    try:
        return Seen.of(run.store())
    except UserError:
        return None
