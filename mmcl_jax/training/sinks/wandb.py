"""Weights & Biases: settings are its environment variables, such as WANDB_PROJECT, WANDB_MODE and WANDB_DIR."""

import os
import uuid
from collections.abc import Mapping
from typing import Any

from mmcl_jax.errors import check
from mmcl_jax.training.sinks import Session


class WandB:
    """A run of W&B, which a later session continues; in its offline mode, a folder per session for `wandb sync`."""

    def __init__(self, session: Session) -> None:
        import wandb

        defaults = {
            "WANDB_PROJECT": ("project", "mmcl_jax"),
            "WANDB_NAME": ("name", session.directory.absolute().name),
            "WANDB_DIR": ("dir", str(session.directory)),
        }
        given: dict[str, Any] = {
            name: value for variable, (name, value) in defaults.items() if variable not in os.environ
        }
        # By default it would take over standard output, which belongs to the progress bar.
        settings: dict[str, Any] = {} if "WANDB_CONSOLE" in os.environ else {"settings": wandb.Settings(console="off")}
        self.identity = session.identity or uuid.uuid4().hex[:8]
        self._run = wandb.init(id=self.identity, resume="allow", config=dict(session.config), **given, **settings)
        self._delivered = session.delivered if session.identity else 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step, unless an earlier session delivered them."""
        if step > self._delivered:
            self._run.log(dict(metrics), step=step)

    def close(self, *, finished: bool) -> None:
        """Deliver everything."""
        self._run.finish()


def check_ready() -> None:
    """Raise `UserError` if W&B would ask for a key in the middle of the training."""
    if os.environ.get("WANDB_MODE", "online") in ("offline", "disabled", "dryrun"):
        return
    import wandb

    check(
        bool(wandb.api.api_key),
        "config.sinks: wandb has no key of an account; run wandb login, or set WANDB_MODE=offline.",
    )


open_sink = WandB
