"""TensorBoard: event files in the folder `events` of the run."""

from collections.abc import Mapping

from tensorboardX import SummaryWriter

from mmcl_jax.training.sinks import Session


class TensorBoard:
    """The event files of a run; those of steps that are repeated are marked as outdated."""

    identity = None

    def __init__(self, session: Session) -> None:
        purge = session.start + 1 if session.start else None
        self._writer = SummaryWriter(str(session.directory / "events"), purge_step=purge)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self, *, finished: bool) -> None:
        """Write everything."""
        self._writer.close()


open_sink = TensorBoard
