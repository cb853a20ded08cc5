"""The check that no run is tested on rows that it has seen in pretraining."""

from collections.abc import Sequence

from mmcl_jax.data.store import Store
from mmcl_jax.errors import UserError, check
from mmcl_jax.page.wording import counted
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.seen import Seen


def check_overlap(runs: Sequence[Run], store: Store, *, allow: bool) -> list[str]:
    """Compare the rows that the runs have seen with the test split of a store.

    Two rows are the same if their keys or their images are. A run is not compared with the store that it was trained
    on, whose splits share no row.

    Args:
      runs: trained on the same store or on different ones.
      store: to evaluate on.
      allow: whether a run may have seen test rows; it then only costs a remark.

    Returns:
      A remark on every run whose rows could not be compared, or that has seen rows of the store.

    Raises:
      UserError: a run has seen rows of the test split, unless `allow`.
    """
    others = [run for run in runs if run.fingerprint != store.fingerprint]
    if not others:
        return []
    store.arrays("test")  # writes the image arrays again if they were deleted
    stored = Seen.of(store, tuple(store.sizes))
    remarks = []
    for run in others:
        seen = _seen(run)
        if seen is None:
            remarks.append(
                f"{run.directory} has no list of the rows that it was trained on, and its store is missing, so these "
                f"rows could not be compared with the test split of {store.directory}."
            )
            continue
        trained, watched = (seen.common(split, stored, "test") for split in ("train", "val"))
        if trained or watched:
            sentence = (
                f"Of the {counted(store.sizes['test'], 'test row')} of {store.directory}, {run.directory} was trained "
                f"on {trained} and validated on {watched} (rows with the same key or image)"
            )
            check(allow, f"{sentence}, so scores would be too high; evaluate on other rows, or pass --allow-overlap.")
            remarks.append(f"{sentence}, so scores are too high.")
        if overlap := seen.common("train", stored, "val"):
            remarks.append(
                f"{run.directory} was trained on {overlap} of the {counted(store.sizes['val'], 'validation row')} of "
                f"{store.directory}, which choose the settings."
            )
    return remarks


def _seen(run: Run) -> Seen | None:
    """Return the rows that the run has seen, from its store if it has no list; None if the store is missing too."""
    seen = Seen.read(run.directory)
    if seen is not None:
        return seen
    try:
        return Seen.of(run.store())
    except UserError:
        return None
