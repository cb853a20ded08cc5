"""The validation pass: the loss of held-out rows, and what follows from it."""

from typing import Any

import jax
import numpy as np

from mmcl_jax.backend import compiler_options
from mmcl_jax.data.padded import PaddedBatches
from mmcl_jax.objectives import Outputs
from mmcl_jax.training.build import Experiment
from mmcl_jax.training.mesh import by_example, placed, put, put_whole, replicated, shardings_of
from mmcl_jax.training.state.control import after_pass, best_step, exhausted
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.gradients import Batch, mapped_in_slices
from mmcl_jax.training.step.train_step import Constants, Metrics, parts_of_loss


class ValidationPass:
    """Measures the objective on the validation rows after every `config.validation.epochs` epochs.

    Views are plain and nothing is trained; weights are the averages where the config asks for them. All processes run
    it, and give the state the same `control` (see `control`). A value is the mean over batches, each weighted by its
    rows; a contrastive loss is lower in the last batch, which has fewer negatives, and it is so in every pass.

    Attributes:
      best: step of the lowest loss so far, -1 for none.
      exhausted: whether no pass of the last `config.stop.patience` gave a lower loss.
    """

    def __init__(self, experiment: Experiment, batches: PaddedBatches, state: TrainState, constants: Constants) -> None:
        """Compile the pass for a state like this one, which is given or restored."""
        config, self._mesh = experiment.config, experiment.mesh
        self._batches, self._constants, self._patience = batches, constants, config.stop.patience
        self._every = config.validation.epochs * experiment.batches.steps_per_epoch

        def measure(state: TrainState, batch: Batch, constants: Constants) -> Metrics:
            params, model_state = state.weights()
            params = jax.lax.with_sharding_constraint(params, replicated(self._mesh))
            encode, contrast = parts_of_loss(experiment, state, constants, train=False)

            def encoded(part: Batch) -> Outputs:
                return encode(params, model_state, part)[0]

            size = config.micro_batch
            outputs = encoded(batch) if size is None else mapped_in_slices(encoded, batch, size=size, mesh=self._mesh)
            _, (metrics, _) = contrast(params, outputs, batch)
            return {name: value for name, value in metrics.items() if not name.endswith("/rows")}

        def steer(control: Any, loss: Any, step: Any) -> Any:
            return after_pass(control, loss, step, plateau=experiment.schedule.plateau, min_delta=config.stop.min_delta)

        local = {
            name: jax.ShapeDtypeStruct((config.batch_size, *rows.shape[1:]), rows.dtype)
            for name, rows in batches[0].items()
        }
        batch = placed(local, by_example(self._mesh))
        places = shardings_of((state, batch, constants))
        jitted = jax.jit(measure, in_shardings=places, out_shardings=replicated(self._mesh))
        options = compiler_options(self._mesh.devices.flat[0], config.dtype)
        self._measure = jitted.lower(state, batch, constants).compile(compiler_options=options)
        self._steer = jax.jit(steer, out_shardings=replicated(self._mesh))
        self._note(state)

    def at(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, float]]:
        """Return the state after this step, and the metrics; the state as it is, and {}, if no pass is due."""
        if step % self._every:
            return state, {}
        with jax.transfer_guard("allow"):
            return self._look(step, state)

    def _look(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, float]]:
        found: list[Metrics] = []
        for index in range(len(self._batches)):
            batch = put(self._batches[index], by_example(self._mesh))
            found.append(self._measure(state, batch, self._constants))
            jax.block_until_ready(found[-2:-1])  # so that two batches are on the devices, and not all of them
        weights = self._batches.counts() / self._batches.rows
        values = jax.device_get(found)
        metrics = {
            f"validation/{name}": float(sum(weight * one[name] for weight, one in zip(weights, values, strict=True)))
            for name in values[0]
        }
        loss, at = put_whole((np.float32(metrics["validation/loss"]), np.int32(step)), replicated(self._mesh))
        state = state.with_control(self._steer(state.control, loss, at))
        self._note(state)
        return state, metrics

    def _note(self, state: TrainState) -> None:
        self.best = best_step(state.control)
        self.exhausted = exhausted(state.control, self._patience)
