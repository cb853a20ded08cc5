"""Sinks: the programs that logged metrics go to, beside `metrics.jsonl`, as `config.sinks` names them.

A sink is a file here with `open_sink`, and its name in `SINKS`. Its settings, such as a server or a project, are the
environment variables of its library. What a sink does has no effect on the training; see `threads`.
"""

import dataclasses
import importlib
import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from mmcl_jax.errors import check, check_name

# The names of sinks, each with the module of its library and the extra that installs it.
SINKS = {
    "tensorboard": ("tensorboardX", ""),
    "wandb": ("wandb", "wandb"),
    "mlflow": ("mlflow", "mlflow"),
    "trackio": ("trackio", "trackio"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Session:
    """A session of a training, as a sink sees it.

    Attributes:
      directory: the folder of the run.
      config: the config as JSON values.
      start: the step that the session starts from.
      delivered: the last step that earlier sessions logged, which may be above `start` after a kill; 0 for none.
      identity: what the sink called this run in an earlier session; None in the first session.
    """

    directory: Path
    config: Mapping[str, Any]
    start: int
    delivered: int
    identity: str | None = None


class Sink(Protocol):
    """A program that takes metrics; any exception that it raises ends its part, but not the training.

    Attributes:
      identity: what the program calls this run, with which a later session continues it; None if it needs none.
    """

    identity: str | None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step."""

    def close(self, *, finished: bool) -> None:
        """Deliver everything; `finished` says whether the training is complete."""


def check_sinks(names: Iterable[str]) -> None:
    """Raise `UserError` unless all names are sinks whose libraries are installed and ready."""
    for name in names:
        check_name(name, SINKS.keys(), "config.sinks: there is no sink")
        library, extra = SINKS[name]
        installed = importlib.util.find_spec(library) is not None
        check(installed, f'config.sinks: {library} is not installed; run pip install "mmcl_jax[{extra}]".')
        module = importlib.import_module(f"{__name__}.{name}")
        if hasattr(module, "check_ready"):
            module.check_ready()


def open_sink(name: str, session: Session) -> Sink:
    """Open a sink, which may take seconds and may raise any exception."""
    return importlib.import_module(f"{__name__}.{name}").open_sink(session)
