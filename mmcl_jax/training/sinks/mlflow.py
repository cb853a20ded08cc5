"""MLflow: settings are its environment variables, such as MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME."""

import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from mmcl_jax.training.sinks import Session

_LONGEST = 500  # characters of a parameter


class MLflow:
    """A run of MLflow, which a later session continues."""

    def __init__(self, session: Session) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        if session.identity:
            self.identity: str = session.identity
            self._client.update_run(self.identity, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "mmcl_jax")
            experiment = self._client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment else self._client.create_experiment(name)
            run_name = os.environ.get("MLFLOW_RUN_NAME", session.directory.absolute().name)
            self.identity = self._client.create_run(number, run_name=run_name).info.run_id
            parameters = [Param(_named(key), str(value)[:_LONGEST]) for key, value in _flat(session.config)]
            for first in range(0, len(parameters), 100):  # a request takes at most 100
                self._client.log_batch(self.identity, params=parameters[first : first + 100])
        self._delivered = session.delivered if session.identity else 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take the metrics of a step, unless an earlier session delivered them."""
        from mlflow.entities import Metric

        if step > self._delivered:
            now = round(1000 * time.time())
            values = [Metric(_named(name), value, now, step) for name, value in metrics.items()]
            self._client.log_batch(self.identity, metrics=values)

    def close(self, *, finished: bool) -> None:
        """Say how the session ended."""
        self._client.set_terminated(self.identity, "FINISHED" if finished else "KILLED")


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested dicts and lists with dotted keys."""
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flat(item, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        yield from _flat({str(index): item for index, item in enumerate(value)}, prefix)
    else:
        yield prefix, value


def _named(name: str) -> str:
    """Return a name with the characters that MLflow allows."""
    return re.sub(r"[^\w\-. /]", "_", name)


open_sink = MLflow
