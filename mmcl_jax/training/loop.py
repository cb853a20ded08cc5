"""The training loop."""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from mmcl_jax.data.format.unchanged import Unchanged
from mmcl_jax.data.input import is_streamed, iterate
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.data.store import Store
from mmcl_jax.encoders import Model
from mmcl_jax.files import writing
from mmcl_jax.lock import locked
from mmcl_jax.progress import Bar, discard
from mmcl_jax.text import called, visible
from mmcl_jax.training.build import Experiment, build_experiment
from mmcl_jax.training.comparison import Comparison
from mmcl_jax.training.faults import Faults
from mmcl_jax.training.log import MetricLog
from mmcl_jax.training.mesh import by_example, put, put_whole, replicated, shardings_of
from mmcl_jax.training.outlook import TimeEstimate, working
from mmcl_jax.training.parameters import parameter_report
from mmcl_jax.training.processes import broadcast_from_primary, check_same, is_primary
from mmcl_jax.training.runs.checkpoint import Checkpoints, Progress
from mmcl_jax.training.runs.plain import flattened, to_plain
from mmcl_jax.training.runs.resume import resume
from mmcl_jax.training.runs.run import Run
from mmcl_jax.training.runs.skips import SKIPPED_STEPS, Skipped, SkippedSteps
from mmcl_jax.training.runs.status import RunStatus
from mmcl_jax.training.sizes import enlargement_notice
from mmcl_jax.training.speed.clock import Clock
from mmcl_jax.training.speed.meter import Speedometer, Work
from mmcl_jax.training.speed.profile import Profile, Steps, check_within
from mmcl_jax.training.speed.times import Times
from mmcl_jax.training.state.control import best_step, exhausted
from mmcl_jax.training.state.groups import merged
from mmcl_jax.training.state.initial_weights import InitialWeights, check_recorded, initial_weights
from mmcl_jax.training.state.train_state import TrainState
from mmcl_jax.training.step.norm import parameter_norm
from mmcl_jax.training.step.train_step import check_step, compile_traced, make_step, memory_report, trace_step
from mmcl_jax.training.step.validation_pass import ValidationPass
from mmcl_jax.training.stop import stop_on_signal
from mmcl_jax.training.validate import check_config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """The outcome of a training.

    Attributes:
      run: the trained run.
      state: the last train state.
      step: the number of steps done.
      steps: the number of steps of the whole training.
      seconds: time trained, including earlier sessions of the run.
      host_ms: median processor time of the Python thread per step, which draws, places and dispatches a batch.
      collapsed: views whose embeddings were one point at the last logged step.
      skipped: the number of steps skipped because a number in them was not finite.
      exhausted: whether the training ended early because the validation loss stopped falling.
      best: the step of the lowest validation loss, -1 without a validation pass.
      times: where the time of all sessions went; None if this session had nothing to do.
      speed: of this session's steps; see `speed.meter.Work.speed`.
      rate: the speed in words.
    """

    run: Run
    state: TrainState
    step: int
    steps: int
    seconds: float
    host_ms: float = math.nan
    collapsed: tuple[str, ...] = ()
    skipped: int = 0
    exhausted: bool = False
    best: int = -1
    times: Times | None = None
    speed: dict[str, float] = dataclasses.field(default_factory=dict)
    rate: str = ""

    @property
    def finished(self) -> bool:
        """Whether the training is complete."""
        return self.step == self.steps or self.exhausted

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome and the last logged metrics by name, without the train state."""
        told = ("finished", "step", "steps", "seconds", "host_ms", "collapsed", "skipped", "exhausted")
        logged = self.run.metrics()
        return {
            "run": self.run.directory,
            **{name: getattr(self, name) for name in told},
            "best": self.best if self.best >= 0 else None,
            "speed": self.speed,
            "times": None if self.times is None else self.times.to_dict(),
            "metrics": logged[-1] if logged else {},
        }

    def describe(self) -> str:
        """Return how the training ended, and where its time went."""
        if not self.finished:
            ended = f"stopped at step {self.step} of {self.steps}; the same command continues."
            return f"{visible(self.run.directory)}: {ended}"
        host = "" if math.isnan(self.host_ms) else f"; host {self.host_ms:.1f} ms per step"
        words = f"; WARNING: the embeddings of {' and '.join(self.collapsed)} have collapsed" if self.collapsed else ""
        skipped = f"; {self.skipped} of them skipped, see {SKIPPED_STEPS}" if self.skipped else ""
        early = f" of {self.steps}, since the validation loss stopped falling," if self.step < self.steps else ""
        best = f"; the lowest validation loss at step {self.best}" if self.best >= 0 else ""
        took = f"{self.step} steps{early} in {self.seconds:.0f} s"
        rate = f"; {self.rate}" if self.rate else ""
        line = f"{visible(self.run.directory)}: {took}{skipped}{best}{rate}{host}{words}"
        return line if self.times is None else f"{line}\n{self.times.table()}"


# A factory: from (store, config, inputs) to a function that returns metrics of a model for the log.
Monitor = Callable[[Store, ConfigDict, Inputs], Callable[[Model], dict[str, float]]]


def pretrain(
    config: ConfigDict,
    workdir: Path,
    *,
    devices: Sequence[jax.Device] | None = None,
    monitor: Monitor | None = None,
    profile: Steps | None = None,
    log: Callable[[str], None] = print,
) -> Result:
    """Train the experiment in `workdir`, or continue it there.

    A run that was stopped, at any moment, and continued ends with the same bits as a run that was not, on the same
    hardware and with deterministic operations (all operations on CPUs are; on GPUs an XLA flag selects them).

    Args:
      config: the experiment.
      workdir: a new folder, or the folder of this experiment.
      devices: to train on; all by default.
      monitor: measures the model every `config.monitor.epochs` epochs and at the end, in the first process. It does not
        influence the training.
      profile: the steps to record into `profile/` of the run, as `speed.profile.parse_steps` returns them.
      log: prints a line.

    Raises:
      UserError: the config, the data or the work directory is wrong, which is checked before anything is written; or
        too many steps in a row are not finite.
    """
    primary = is_primary()
    log = log if primary else discard
    check_config(config)
    store = Store.open(config.data)
    check_same({**flattened(to_plain(config), "config"), "The store": store.fingerprint, "--workdir": called(workdir)})
    # Signal handlers are removed last, so that a signal during the last save is handled as at any other time.
    with stop_on_signal() as stop, writing(workdir), contextlib.ExitStack() as resources:
        begun = broadcast_from_primary(lambda: Run.exists(workdir))
        if begun:
            _lock(workdir, resources)
        # A run stores how rows are encoded, so that later sessions, and later rows, are encoded in the same way.
        stored_inputs = Run.open(workdir).inputs_for(config) if begun else None
        experiment = build_experiment(config, store, devices, inputs=stored_inputs)
        batches, mesh, inputs = experiment.batches, experiment.mesh, experiment.fitted_inputs
        unchanged = Unchanged(store.directory)
        assert inputs is not None
        texts = {name: store.names(spec.of) for name, spec in inputs.specs.items() if spec.kind == "text"}
        shapes, step_function = experiment.shapes(), make_step(experiment)
        weights, traced = InitialWeights(), None
        if not begun:  # before the run is written
            weights = initial_weights(config, experiment.graphdef, shapes[0].weights(), texts)
            check_within(profile, batches.steps)
            traced = check_step(step_function, *shapes)
        run = Run.begin(workdir, config, store, inputs, lengthen=True, weights=weights.records)
        if not begun:
            _lock(workdir, resources)
        length = {"steps": batches.steps, "steps_per_epoch": batches.steps_per_epoch}
        status = resources.enter_context(RunStatus(workdir, **length, writes=primary))

        data = iterate(batches, workers=config.loader.workers)
        resources.callback(data.close)
        constants = put_whole(experiment.constants(), replicated(mesh))
        compiling = 0.0  # seconds
        start = resume(run.checkpoints, shapes[0], log=log)
        check_recorded(config, workdir, needed=start is None)
        fresh = start is None
        if start is not None:
            data.set_state(start.data)
        else:
            if begun:
                weights = initial_weights(config, experiment.graphdef, shapes[0].weights(), texts)
            for line in weights.lines:
                log(line)
            loaded = put_whole(weights.arrays, replicated(mesh))
            began = time.monotonic()
            with working("initialising the parameters", quiet=not primary):
                initialise = jax.jit(experiment.init, out_shardings=shardings_of(shapes[0]))
                start = Progress(state=jax.block_until_ready(initialise(constants["seed"], loaded)))
            compiling += time.monotonic() - began
        checkpoints = Checkpoints(run.checkpoints, keep=config.keep_checkpoints, every=config.keep_every)
        resources.callback(checkpoints.close)
        state, step = start.state, int(jax.device_get(start.state.step))
        result = Result(
            run=run,
            state=state,
            step=step,
            steps=batches.steps,
            seconds=start.seconds,
            skipped=start.skipped.total,
            exhausted=exhausted(state.control, config.stop.patience),
            best=best_step(state.control),
        )
        status.step, status.finished = step, result.finished
        if result.finished:
            if fresh:  # of no epochs: the run has the initial weights
                checkpoints.save(0, state, data=data.get_state(), seconds=0.0, skipped=Skipped())
                checkpoints.wait()
            return result

        began = time.monotonic()
        with working("compiling the training step", quiet=not primary):
            traced = traced or trace_step(step_function, *shapes)
            compiled = compile_traced(traced, mesh.devices.flat[0], dtype=config.dtype)
            validation_pass = monitor_pass = None
            if experiment.validation is not None:
                validation_pass = ValidationPass(experiment, experiment.validation, state, constants)
        compiling += time.monotonic() - began
        if monitor is not None and config.monitor.epochs is not None:
            monitor_pass = _MonitorPass(monitor(store, config, inputs) if primary else None, experiment)
        for line in _description(experiment, state, compiled, workdir, step):
            log(line)
        work = Work.of(config, experiment.inputs, traced.jaxpr, compiled, mesh.devices.flat[0], mesh.size)
        clock = Clock(workdir, start=step, seconds=start.seconds, compiled=compiling, writes=primary)
        resources.callback(clock.close)
        keys = functools.partial(store.keys, "train", config.fold)
        limit = config.skip_nonfinite
        skips = SkippedSteps(workdir, batches, keys, limit=limit, start=step, before=start.skipped, log=log)
        speed = Speedometer(work, clock, start=step)
        columns = {
            table: [column.name for column in encoding.schema.columns] for table, encoding in inputs.tables.items()
        }
        bounds, on = experiment.objective.bounds, config.stop.on
        norm = parameter_norm(experiment)
        faults = Faults(
            workdir, columns=columns, bounds=bounds, on=on, start=step, log=log, norm=float(norm(state.params))
        )
        metric_log = MetricLog(workdir, skips, faults, config, start=step, clock=clock, speed=speed, log=log)
        resources.callback(lambda: metric_log.close(finished=status.finished))
        recording = Profile(profile, workdir, start=step, total=batches.steps, writes=primary, log=log)
        resources.callback(recording.close)
        estimate = TimeEstimate(first=step, steps=batches.steps, epochs=config.epochs, log=log)
        streamed, names = is_streamed(config.loader.images, store), {spec.of for spec in inputs.specs.values()}
        comparison = Comparison(store, names, streamed=streamed, runs=primary)
        resources.callback(comparison.close)
        stop.listen()
        bar = resources.enter_context(Bar(f"pretrain {workdir.name}", batches.steps, start=step, quiet=not primary))

        # The order matters. Metrics of a step are fetched after the next step is dispatched, so that the accelerator
        # never waits for the host. A validation pass changes the state, so it comes before the checkpoint. A checkpoint
        # is saved after the log is written, so that it is never ahead of the log, and before the next batch is drawn,
        # so that its train state, data position and clock agree. None is saved once the store is known to be damaged.
        host_seconds, done, saved = [], False, step
        while not done:
            step += 1
            recording.before(step)
            tick = time.thread_time()
            # No array goes to the devices unnoticed, but reading metrics may wait.
            with jax.transfer_guard("disallow"), recording.step(step):
                with clock.part("input"):
                    rows = next(data)
                batch = put(rows, by_example(mesh))
                state, metrics = compiled(state, batch, constants)
            clock.dispatched(step, metrics["loss"])
            skips.note(step, metrics.pop("skipped"))
            host_seconds.append(time.thread_time() - tick)
            with clock.part("profile"):
                recording.after(step, metrics)
            estimate.at(step, metrics)
            bar.update(step, metric_log.flush())

            measured: dict[str, float] = {}
            best = False
            if validation_pass is not None:
                with clock.part("validation"):
                    state, measured = validation_pass.at(step, state)
                best = validation_pass.best == step
            early = validation_pass is not None and validation_pass.exhausted
            done = stop.at(step) or step == batches.steps or early
            status.step, status.finished = step, step == batches.steps or early
            if monitor_pass is not None:
                with clock.part("monitor"):
                    measured |= monitor_pass.at(step, state, last=early)
            if measured or step == batches.steps or step % config.log_every == 0:
                metric_log.defer(step, {**metrics, "parameter_norm": norm(state.params), **measured})

            if done or best or _due(step, config.checkpoint_every) or _due(step, config.keep_every):
                unchanged.check(
                    f"this step is not saved: put the store back as it was, and the same command continues from step "
                    f"{saved}; for other data, choose another --workdir"
                )
                bar.update(step, metric_log.flush())
                seconds, skipped = clock.seconds, skips.until(step)
                comparison.check()
                with clock.part("checkpoint"):
                    checkpoints.save(step, state, data=data.get_state(), seconds=seconds, skipped=skipped)
                saved = step
            clock.write()
        with clock.part("checkpoint"):
            checkpoints.wait()
        rates = work.speed(step - result.step, *clock.stepping())
        result = dataclasses.replace(result, seconds=clock.seconds, times=clock.times(), speed=rates)
    return dataclasses.replace(
        result,
        state=state,
        step=step,
        rate=work.describe(result.speed),
        host_ms=1e3 * float(np.median(host_seconds)),
        collapsed=metric_log.collapsed,
        skipped=skips.count.total,
        exhausted=early,
        best=best_step(state.control),
    )


def _lock(workdir: Path, resources: contextlib.ExitStack) -> None:
    """Lock the run against another training until `resources` are closed; the first process locks for all."""
    lock = locked(workdir / "lock.json", what=f"trains in {workdir}")
    broadcast_from_primary(lambda: resources.enter_context(lock) is None)


def _description(experiment: Experiment, state: TrainState, compiled: Any, workdir: Path, step: int) -> Iterator[str]:
    """Yield the lines that are logged before the first step: data, notices, devices, memory, and where it continues."""
    mesh, batches = experiment.mesh, experiment.batches
    yield batches.describe()
    if notice := enlargement_notice(experiment.config, experiment.inputs):
        yield notice
    assert experiment.fitted_inputs is not None
    for name, encoding in experiment.fitted_inputs.tables.items():
        if encoding.rare:
            counts = ", ".join(f"{column} {count:,}" for column, count in encoding.unknown_counts.items())
            yield f"{name}: rare categories that are unknown, in training rows: {counts or 'none'}"
    yield from experiment.cautions
    yield parameter_report(merged(state.params, state.frozen))
    yield f"{mesh.size} x {mesh.devices.flat[0].device_kind}; per device: {memory_report(compiled)}"
    if step:
        yield f"continuing {workdir} at step {step} of {batches.steps}"


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


class _MonitorPass:
    """The monitor with its schedule: every `config.monitor.epochs` epochs, and at the end."""

    def __init__(self, measure: Callable[[Model], dict[str, float]] | None, experiment: Experiment) -> None:
        """Take the function that measures, which only the first process has."""
        self._measure, self._experiment = measure, experiment
        # All processes take part in gathering parameters that are divided over devices.
        self._gather = jax.jit(lambda arrays: arrays, out_shardings=replicated(experiment.mesh))

    def at(self, step: int, state: TrainState, *, last: bool = False) -> dict[str, float]:
        """Return the metrics at this step, {} if none are due; the `last` step always has metrics."""
        batches, epochs = self._experiment.batches, self._experiment.config.monitor.epochs
        if not last and step != batches.steps and step % (batches.steps_per_epoch * epochs):
            return {}
        arrays = self._gather(state.weights())
        if self._measure is None:
            return {}
        local = jax.tree.map(lambda array: array.addressable_data(0), arrays)
        return self._measure(nnx.merge(self._experiment.graphdef, *local))
