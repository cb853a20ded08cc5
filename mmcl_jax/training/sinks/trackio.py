"""trackio: a local database, or what its environment variables name, such as TRACKIO_DIR and TRACKIO_SPACE_ID."""

import uuid
from collections.abc import Mapping

from mmcl_jax.training.sinks import Session


class Trackio:
    """A run of the trackio project `mmcl_jax`, which a later session continues."""

    def __init__(self, session: Session) -> None:
        import trackio

        # The name identifies a run, and folders of several runs may have one name.
        self.identity = session.identity or f"{session.directory.absolute().name}-{uuid.uuid4().hex[:8]}"
        self._run = trackio.init(
            project="mmcl_jax", name=self.identity, resume="allow", config=dict(session.config), embed=False
        )
        self._delivered = session.delivered if session.identity else 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step, unless an earlier session delivered them."""
        if step > self._delivered:
            self._run.log(dict(metrics), step=step)

    def close(self, *, finished: bool) -> None:
        """Deliver everything."""
        self._run.finish()


open_sink = Trackio
