"""The validation pass: the objective on held-out rows, and the control state that it updates."""

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
    """The measurement of the objective on the validation rows, after every `config.validation.epochs` epochs.

    Views are plain, except that masked views mask the same cells in every pass. No parameter is trained; the weights
    are the averages, if the config averages weights. All processes run the pass, and update `control` of the state
    alike (see `control`). A metric is the mean over batches, weighted by their rows; in every pass, a contrastive loss
    is lower in the last batch, which has fewer negatives.

    Attributes:
      best: step of the lowest loss so far, -1 before the first pass.
      exhausted: whether none of the last `config.stop.patience` passes lowered the loss.
    """

    def __init__(self, experiment: Experiment, batches: PaddedBatches, state: TrainState, constants: Constants) -> None:
        """Compile the pass for states like `state`, which is initial or restored."""
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

        def update(control: Any, loss: Any, step: Any) -> Any:
            return after_pass(control, loss, step, plateau=experiment.schedule.plateau, min_delta=config.stop.min_delta)

        local = {
            name: jax.ShapeDtypeStruct((config.batch_size, *rows.shape[1:]), rows.dtype)
            for name, rows in batches[0].items()
        }
        batch = placed(local, by_example(self._mesh))
        in_shardings = shardings_of((state, batch, constants))
        jitted = jax.jit(measure, in_shardings=in_shardings, out_shardings=replicated(self._mesh))
        options = compiler_options(self._mesh.devices.flat[0], config.dtype)
        self._measure = jitted.lower(state, batch, constants).compile(compiler_options=options)
        self._update = jax.jit(update, out_shardings=replicated(self._mesh))
        self._read_control(state)

    def at(self, step: int, state: TrainState) -> tuple[TrainState, dict[str, float]]:
        """Run a pass if one is due after this step; return the state with its new control, and the metrics or {}."""
        if step % self._every:
            return state, {}
        by_batch: list[Metrics] = []
        for index in range(len(self._batches)):
            batch = put(self._batches[index], by_example(self._mesh))
            by_batch.append(self._measure(state, batch, self._constants))
            jax.block_until_ready(by_batch[-2:-1])  # so that at most two batches are on the devices
        weights = self._batches.counts() / self._batches.rows
        values = jax.device_get(by_batch)
        metrics = {
            f"validation/{name}": float(
                sum(weight * value[name] for weight, value in zip(weights, values, strict=True))
            )
            for name in values[0]
        }
        loss, step_number = put_whole((np.float32(metrics["validation/loss"]), np.int32(step)), replicated(self._mesh))
        state = state.with_control(self._update(state.control, loss, step_number))
        self._read_control(state)
        return state, metrics

    def _read_control(self, state: TrainState) -> None:
        self.best = best_step(state.control)
        self.exhausted = exhausted(state.control, self._patience)
