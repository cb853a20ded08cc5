"""The training loop."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.input import iterate
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.files import writing
from mmcl_jax.lock import locked
from mmcl_jax.progress import Bar
from mmcl_jax.text import visible
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.log import MetricLog
from mmcl_jax.training.mesh import by_example, put, put_whole, replicated, shardings_of
from mmcl_jax.training.outlook import Outlook, working
from mmcl_jax.training.processes import broadcast_from_primary, is_primary
from mmcl_jax.training.runs.checkpoint import Checkpoints
from mmcl_jax.training.runs.resume import resume
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.skips import SKIPPED_STEPS, Skipped, SkippedSteps
from mmcl_jax.training.sizes import enlarged
from mmcl_jax.training.state.control import best_step, exhausted
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.train_step import check_step, compile_step, make_step, memory_report
from mmcl_jax.training.step.validation_pass import ValidationPass
from mmcl_jax.training.stop import stop_on_signal
from mmcl_jax.training.validate import check_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """How a training ended: at `step` of `steps`, after `seconds` over all sittings.

    `host_ms` is the processor time of the Python thread per step (drawing, placing and dispatching a batch), median;
    `collapsed` are the views whose embeddings were one point at the last logged step; `skipped` steps of all were
    skipped because a number in them was not finite; `exhausted` means that it ended early because the validation loss
    fell no longer; `best` is the step of the lowest one, -1 without a pass.
    """

    run: Run
    state: TrainState
    step: int
    steps: int
    seconds: float
    host_ms: float
    collapsed: tuple[str, ...] = ()
    skipped: int = 0
    exhausted: bool = False
    best: int = -1

    @property
    def finished(self) -> bool:
        """Whether nothing is left to train."""
        return self.step == self.steps or self.exhausted

    def describe(self) -> str:
        """Return a line on how the training ended."""
        if not self.finished:
            ended = f"stopped at step {self.step} of {self.steps}; the same command continues."
            return f"{visible(self.run.directory)}: {ended}"
        host = "" if math.isnan(self.host_ms) else f"; host {self.host_ms:.1f} ms per step"
        words = f"; WARNING: the embeddings of {' and '.join(self.collapsed)} have collapsed" if self.collapsed else ""
        skipped = f"; {self.skipped} of them skipped, see {SKIPPED_STEPS}" if self.skipped else ""
        early = f" of {self.steps}, since the validation loss fell no longer," if self.step < self.steps else ""
        best = f"; the lowest validation loss at step {self.best}" if self.best >= 0 else ""
        took = f"{self.step} steps{early} in {self.seconds:.0f} s"
        return f"{visible(self.run.directory)}: {took}{skipped}{best}{host}{words}"


# Made of (store, config, inputs); called with the model between steps, it gives metrics for the log.
Monitor = Callable[[Store, ConfigDict, Inputs], Callable[[Model], dict[str, float]]]


def pretrain(
    config: ConfigDict,
    workdir: Path,
    *,
    devices: Sequence[jax.Device] | None = None,
    monitor: Monitor | None = None,
    log: Callable[[str], None] = print,
) -> Result:
    """Train the experiment in `workdir`, or continue it there.

    Whatever moment it is stopped at, a run that is continued ends with the same bits as one that was not, on the same
    hardware and with deterministic operations (CPUs have no others; GPUs by an XLA flag).

    Args:
      config: the experiment.
      workdir: a new folder, or one of this experiment.
      devices: to train on; all by default.
      monitor: measures the model every `config.monitor.epochs` epochs and at the end, in the first process. It is no
        part of the step, and changes nothing that is trained.
      log: prints a line.

    Raises:
      UserError: bad config, data or work directory, found before anything is written; or too many
        steps in a row that are not finite.
    """
    log = log if is_primary() else _nothing
    check_config(config)
    store = Store.open(config.data)
    # The handlers come off last: whoever asks to stop while the last checkpoint is written is answered like the others.
    with stop_on_signal() as stop, writing(workdir), contextlib.ExitStack() as resources:

        def claim() -> None:
            lock = locked(workdir / "lock.json", what=f"trains in {workdir}")
            broadcast_from_primary(lambda: resources.enter_context(lock) is None)

        begun = broadcast_from_primary(lambda: Run.exists(workdir))
        if begun:
            claim()
        # A run keeps how rows are encoded, so that a later row, and a later sitting, encode them in the same way.
        kept = Run.open(workdir).inputs_for(config) if begun else None
        experiment = build_experiment(config, store, devices, inputs=kept)
        batches, mesh, inputs = experiment.batches, experiment.mesh, experiment.fitted_inputs
        assert inputs is not None
        # Shapes first: then memory can be told, and every array is made where it will stay.
        shapes, step_function = experiment.shapes(), make_step(experiment)
        if not begun:
            check_step(step_function, *shapes)
        run = Run.begin(workdir, config, store, inputs, lengthen=True)
        if not begun:
            claim()

        constants = put_whole(experiment.constants(), replicated(mesh))
        initialise = jax.jit(experiment.init, out_shardings=shardings_of(shapes[0]))
        data = iterate(batches, workers=config.loader.workers)
        resources.callback(data.close)
        restored = resume(run.checkpoints, shapes[0], log=log)
        if restored is None:
            with working("initialising the parameters", quiet=not is_primary()):
                state = jax.block_until_ready(initialise(constants["seed"]))
            seconds, before = 0.0, Skipped()
        else:
            state, seconds, before = restored.state, restored.seconds, restored.skipped
            data.set_state(restored.data)
        checkpoints = Checkpoints(run.checkpoints, keep=config.keep_checkpoints, every=config.keep_every)
        resources.callback(checkpoints.close)
        step = first = int(jax.device_get(state.step))
        done = exhausted(state.control, config.stop.patience)
        if first == batches.steps or done:
            return Result(
                run=run,
                state=state,
                step=step,
                steps=batches.steps,
                seconds=seconds,
                host_ms=math.nan,
                skipped=before.total,
                exhausted=done,
                best=best_step(state.control),
            )

        watch = None
        if monitor is not None and config.monitor.epochs is not None:
            watch = _Watch(monitor(store, config, inputs) if is_primary() else None, experiment)
        with working("compiling the training step", quiet=not is_primary()):
            compiled = compile_step(step_function, *shapes, dtype=config.dtype)
            validation = None
            if experiment.validation is not None:
                validation = ValidationPass(experiment, experiment.validation, state, constants)
        log(batches.describe())
        if sentence := enlarged(config, experiment.inputs):
            log(sentence)
        log(f"{mesh.size} x {mesh.devices.flat[0].device_kind}; per device: {memory_report(compiled)}")
        if first:
            log(f"continuing {workdir} at step {first} of {batches.steps}")
        began = time.monotonic() - seconds
        skips = SkippedSteps(
            workdir,
            batches,
            lambda: store.keys("train", config.fold),
            most=config.skip_nonfinite,
            start=first,
            before=before,
            writes=is_primary(),
            log=log,
        )
        metric_log = MetricLog(workdir, skips, start=first, began=began, writes=is_primary())
        resources.callback(metric_log.close)
        stop.listen()
        bar = resources.enter_context(
            Bar(f"pretrain {workdir.name}", batches.steps, start=first, quiet=not is_primary())
        )
        resources.enter_context(jax.transfer_guard("disallow"))

        # The order matters. Metrics are fetched after the next step was dispatched, so that the accelerator never waits
        # for them. A validation pass steers what follows, so it comes before the checkpoint. That is taken before the
        # next batch is drawn, so that state, data position and clock agree, and after the log was written, so that it
        # is never ahead of the log.
        host, outlook = [], Outlook(first=first, steps=batches.steps, epochs=config.epochs, log=log)
        while step < batches.steps:
            tick = time.thread_time()
            batch = put(next(data), by_example(mesh))
            state, metrics = compiled(state, batch, constants)
            step += 1
            skips.note(step, metrics.pop("skipped"))
            host.append(time.thread_time() - tick)
            outlook.at(step, metrics)
            bar.update(step, metric_log.flush())
            state, seen = validation.at(step, state) if validation else (state, {})
            done = validation is not None and validation.exhausted
            last = stop.at(step) or step == batches.steps or done
            seen |= watch.at(step, state, last=done) if watch else {}
            if seen or step == batches.steps or step % config.log_every == 0:
                metric_log.defer(step, {**metrics, **seen})
            best = validation is not None and validation.best == step
            if last or best or _due(step, config.checkpoint_every) or _due(step, config.keep_every):
                bar.update(step, metric_log.flush())
                checkpoints.save(
                    step,
                    state,
                    data=data.get_state(),
                    seconds=time.monotonic() - began,
                    skipped=skips.until(step),
                )
            if last:
                break
    return Result(
        run=run,
        state=state,
        step=step,
        steps=batches.steps,
        seconds=time.monotonic() - began,
        host_ms=1e3 * float(np.median(host)),
        collapsed=metric_log.collapsed,
        skipped=skips.count.total,
        exhausted=done,
        best=best_step(state.control),
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


class _Watch:
    """The monitor, and when it looks."""

    def __init__(self, look: Callable[[Model], dict[str, float]] | None, experiment: Experiment) -> None:
        self._look, self._experiment = look, experiment
        # Parameters that are divided over devices are put together, by all processes.
        self._whole = jax.jit(lambda arrays: arrays, out_shardings=replicated(experiment.mesh))

    def at(self, step: int, state: TrainState, *, last: bool = False) -> dict[str, float]:
        """Return the metrics at this step, {} if none are due; they are due at the `last` step always."""
        batches, epochs = self._experiment.batches, self._experiment.config.monitor.epochs
        if not last and step != batches.steps and step % (batches.steps_per_epoch * epochs):
            return {}
        with jax.transfer_guard("allow"):
            arrays = self._whole(state.weights())
            if self._look is None:
                return {}
            here = jax.tree.map(lambda array: array.addressable_data(0), arrays)
            return self._look(nnx.merge(self._experiment.graphdef, *here))


def _nothing(line: str) -> None:
    """Drop a line that a process other than the first would print."""
