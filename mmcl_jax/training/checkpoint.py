"""Checkpoints: train state, data position and clock, as one unit that is there whole or not at all."""

import dataclasses
from pathlib import Path
from typing import Any

from orbax.checkpoint import v1 as ocp

from mmcl_jax.training.state import Arrays, TrainState

_MODEL = ("params", "model_state")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Restored:
    """What a checkpoint holds. `data` is the input iterator's state, `seconds` the time trained so far."""

    state: TrainState
    data: dict[str, Any]
    seconds: float


class Checkpoints:
    """The checkpoints of one run, by step. Saving copies the arrays to the host and writes in the background.

    The training opens them with the number to `keep`, and clears away what a kill left unfinished. Whoever only reads
    leaves `keep` out, and disturbs no training that is going on.
    """

    def __init__(self, directory: Path, *, keep: int | None = None) -> None:
        policies = ocp.training.preservation_policies
        self._checkpointer = ocp.training.Checkpointer(
            directory.absolute(), preservation_policy=policies.LatestN(keep), cleanup_tmp_directories=keep is not None
        )

    @property
    def latest(self) -> int | None:
        """The step of the latest whole checkpoint, None if there is none."""
        latest = self._checkpointer.latest
        return None if latest is None else int(latest.step)

    def save(self, step: int, state: TrainState, *, data: dict[str, Any], seconds: float) -> None:
        """Starts to save; returns when the state's buffers may be reused."""
        self._checkpointer.wait()
        content = {**_split(state), "data": data, "clock": {"seconds": seconds}}
        self._checkpointer.save_checkpointables_async(step, content)

    def restore(self, abstract: TrainState) -> Restored:
        """The latest checkpoint, its arrays placed as `abstract` says (shapes, dtypes and shardings)."""
        wanted = {**_split(abstract), "data": None, "clock": None}
        content = self._checkpointer.load_checkpointables(self.latest, wanted)
        state = TrainState(**content["model"], **content["optimizer"])
        return Restored(state=state, data=content["data"], seconds=float(content["clock"]["seconds"]))

    def restore_model(self, params: Arrays, model_state: Arrays) -> tuple[Arrays, Arrays]:
        """Only parameters and model state of the latest checkpoint, placed as the abstract arguments say."""
        wanted = {"model": {"params": params, "model_state": model_state}}
        model = self._checkpointer.load_checkpointables(self.latest, wanted)["model"]
        return model["params"], model["model_state"]

    def wait(self) -> None:
        """Waits until everything is on disk."""
        self._checkpointer.wait()

    def close(self) -> None:
        """Waits, and lets go of the directory."""
        self._checkpointer.wait()
        self._checkpointer.close()


def _split(state: TrainState) -> dict[str, dict[str, Any]]:
    """The model apart from the rest, so that evaluation reads only that."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return {"model": {name: fields.pop(name) for name in _MODEL}, "optimizer": fields}
