"""Check the config keys that are not options of registered parts, which `registry` checks."""

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from mmcl_jax.data.cohort import COHORTS
from mmcl_jax.data.inputs import OPTIONS, SCALES
from mmcl_jax.data.kinds.vector import VECTOR_POLICIES
from mmcl_jax.data.table.encoding import MISSING_POLICIES, OUTSIDE_POLICIES
from mmcl_jax.encoders import parse_key
from mmcl_jax.encoders.fusions import check_fused, parts_of_views
from mmcl_jax.errors import check, check_name
from mmcl_jax.objectives.pairs import EXECUTIONS
from mmcl_jax.text import brief
from mmcl_jax.training.faults import KINDS as KINDS_OF_FAULTS
from mmcl_jax.training.optim.optimizer import OPTIMIZERS
from mmcl_jax.training.optim.schedules import Schedule
from mmcl_jax.training.sinks import check_sinks
from mmcl_jax.training.state.average import KINDS


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


_positive: tuple[Callable[[Any], bool], str] = (lambda value: 0 < value < 2**31, "must be positive and below 2^31")
_SCALARS: dict[str, tuple[tuple[type, ...], Callable[[Any], bool], str]] = {
    "data": ((str,), lambda v: v != "", "must name a store; give --config.data=stores/NAME"),
    "seed": ((int,), lambda v: 0 <= v < 2**31, "must lie in [0, 2^31)"),
    "dtype": ((str,), lambda v: v in ("float32", "bfloat16"), "must be float32 or bfloat16"),
    "batch_size": ((int,), *_positive),
    "epochs": ((int,), lambda v: 0 <= v < 2**31, "must not be negative, and below 2^31"),
    "cohort": ((str,), lambda v: v in COHORTS, f"must be one of {', '.join(COHORTS)}"),
    "fold": ((int, type(None)), lambda v: v is None or v >= 0, "must not be negative, or None"),
    "normalise_terms": ((str, type(None)), lambda v: v in (None, "present"), "must be present, or None"),
    "target.decay": ((float, int), lambda v: 0 <= v <= 1, "must lie in [0, 1]"),
    "monitor.epochs": ((int, type(None)), lambda v: v is None or v > 0, "must be positive, or None"),
    "monitor.rows": ((int,), *_positive),
    "monitor.neighbours": ((int,), *_positive),
    "loader.images": ((str,), lambda v: v in ("auto", "mapped", "streamed"), "must be auto, mapped or streamed"),
    "loader.workers": ((int, type(None)), lambda v: v is None or 0 <= v <= 1024, "must lie in [0, 1024], or be None"),
    "micro_batch": ((int, type(None)), lambda v: v is None or v > 0, "must be positive, or None"),
    "mesh.model": ((int,), *_positive),
    "mesh.shard_above": ((int,), lambda v: v >= 0, "must not be negative"),
    "pairs.execution": ((str,), lambda v: v in EXECUTIONS, f"must be one of {', '.join(EXECUTIONS)}"),
    "pairs.tile": ((int, type(None)), lambda v: v is None or v > 0, "must be positive, or None"),
    "validation.epochs": ((int, type(None)), lambda v: v is None or v > 0, "must be positive, or None"),
    "stop.patience": ((int, type(None)), lambda v: v is None or v > 0, "must be positive, or None"),
    "stop.min_delta": ((float, int), lambda v: 0 <= v < float("inf"), "must not be negative"),
    "stop.on": (
        (tuple,),
        lambda v: all(kind in KINDS_OF_FAULTS for kind in v) and len(set(v)) == len(v),
        f"must be a tuple of some of {', '.join(KINDS_OF_FAULTS)}, such as ('collapse',)",
    ),
    "average.kind": ((str, type(None)), lambda v: v in (None, *KINDS), f"must be {', '.join(KINDS)} or None"),
    "average.decay": ((float, int), lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    "average.start": ((int,), lambda v: v >= 0, "must not be negative"),
    "frozen": (
        (tuple,),
        lambda v: all(isinstance(pattern, str) and pattern for pattern in v),
        "must be a tuple of path patterns, such as ('encoders.image.*',)",
    ),
    "rates": (
        (ConfigDict,),
        lambda v: all(_is_rate(rate) for rate in v.values()),
        "must have positive numbers by path pattern, such as {'encoders.table.*': 0.1}",
    ),
    "log_every": ((int,), *_positive),
    "sinks": (
        (tuple,),
        lambda v: all(isinstance(name, str) for name in v) and len(set(v)) == len(v),
        "must be a tuple of different names, such as ('tensorboard', 'wandb')",
    ),
    "checkpoint_every": ((int,), *_positive),
    "keep_checkpoints": ((int,), *_positive),
    "keep_every": ((int, type(None)), lambda v: v is None or v > 0, "must be positive, or None"),
    "clip_norm": (
        (float, int, type(None)),
        lambda v: v is None or 0 < v < float("inf"),
        "must be positive and finite, or None",
    ),
    "skip_nonfinite": ((int,), *_positive),
    "batch_norm.group_size": ((int, type(None)), lambda v: v is None or v > 1, "must be above 1, or None"),
    "batch_norm.momentum": ((float, int), lambda v: 0 <= v < 1, "must lie in [0, 1)"),
    "batch_norm.epsilon": ((float, int), *_positive),
}
_POLICIES = tuple(dict.fromkeys((*MISSING_POLICIES, *VECTOR_POLICIES)))  # of tables and of vectors
_INPUT: dict[str, tuple[tuple[type, ...], Callable[[Any], bool], str]] = {
    "of": ((str,), lambda v: True, ""),
    "missing": ((str,), lambda v: v in _POLICIES, f"must be one of {', '.join(_POLICIES)}"),
    "outside": ((str,), lambda v: v in OUTSIDE_POLICIES, f"must be one of {', '.join(OUTSIDE_POLICIES)}"),
    "columns": ((str,), lambda v: v != "", "must be all, a tag of columns, or 'not TAG'"),
    "label_as_feature": ((bool,), lambda v: True, ""),
    "scale": ((str,), lambda v: v in SCALES, f"must be one of {', '.join(SCALES)}"),
}


def check_keys(config: ConfigDict, *, complete: bool = True) -> None:
    """Check the value of every key that is not an option of a part.

    Args:
      config: the experiment.
      complete: whether every key must be there; the config of a run lacks those that later versions added.

    Raises:
      UserError: naming the key.
    """
    for name, chosen in config.inputs.items():
        whole = isinstance(chosen, ConfigDict) and set(chosen) == set(OPTIONS)
        check(whole, f"config.inputs.{name}: this is not a complete input; make it with mmcl_jax.config.input(...).")
    rules = {**_SCALARS, **{f"inputs.{name}.{key}": rule for name in config.inputs for key, rule in _INPUT.items()}}
    for key, (types, holds, sentence) in rules.items():
        value = config
        for part in key.split("."):
            there = isinstance(value, ConfigDict) and part in value
            check(there or (not complete and isinstance(value, ConfigDict)), f"config.{key}: this key is missing.")
            if not there:
                break
            value = value[part]
        if not there:
            continue
        typed = isinstance(value, types) and not (isinstance(value, bool) and bool not in types)
        check(typed, f"config.{key}: {brief(value)} is not of type {' or '.join(t.__name__ for t in types)}.")
        check(holds(value), f"config.{key}: {brief(value)} {sentence}.")


def check_config(config: ConfigDict) -> None:
    """Check every key that is not an option of a part, and that the keys fit together.

    Raises:
      UserError: naming the key.
    """
    check_keys(config)
    check_sinks(config.sinks)
    check(
        config.epochs > 0 or config.schedule.name == "constant",
        f"config.epochs: a run of 0 epochs is not trained, and the schedule {config.schedule.name!r} has no length; "
        "give more epochs, or set config.schedule.name=constant.",
    )
    group = config.batch_norm.group_size
    check(
        group is None or config.batch_size % group == 0,
        f"config.batch_norm.group_size: {group} does not divide config.batch_size, which is {config.batch_size}.",
    )
    check_fused(config)
    fusions = parts_of_views(config.views)
    for name, spec in config.views.items():
        if name not in fusions:
            check_name(spec.modality, list(config.inputs), f"config.views.{name}.modality: there is no input")
        check(
            spec.modality in config.encoders,
            f"config.views.{name}.modality: config.encoders has no {spec.modality!r}; add it.",
        )
    used = {spec.modality for spec in config.views.values()}
    for part in ("inputs", "encoders", "projectors", "predictors"):
        for key in config[part]:
            modality = key if part in ("inputs", "encoders") else parse_key(key, f"config.{part}.{key}").modality
            check(
                modality in used,
                f"config.{part}.{key}: no view has the modality {modality!r}; remove this.",
            )
    for key in config.predictors:
        check(
            key in config.projectors,
            f"config.predictors.{key}: config.projectors has no {key!r}; add it.",
        )


def check_control(config: ConfigDict, schedule: Schedule) -> None:
    """Check the keys that depend on validation passes, and the keys that the schedule controls.

    Raises:
      UserError: no validation pass would run, or the schedule overrides an option that was set.
    """
    every = config.validation.epochs
    check(
        every is None or every <= config.epochs,
        f"config.validation.epochs: {every} is more than config.epochs, which is {config.epochs}, so that no pass "
        f"would run; lower it.",
    )
    remedy = "and config.validation.epochs=None runs none; set that key to 1 for a pass after every epoch."
    check(
        config.stop.patience is None or config.validation.epochs is not None,
        f"config.stop.patience: {config.stop.patience} counts validation passes, {remedy}",
    )
    check(
        schedule.plateau is None or config.validation.epochs is not None,
        f"config.schedule.name: {config.schedule.name!r} waits for validation passes, {remedy}",
    )
    check(
        config.average.kind is None or config.average.start < config.epochs,
        f"config.average.start: {config.average.start} is not below config.epochs, which is {config.epochs}, so that "
        f"no weights would be averaged; lower it.",
    )
    if schedule.b1 is None:
        return
    option = OPTIMIZERS.options(config.optimizer.name).get("b1")
    check(
        option is not None,
        f"config.schedule.b1: the optimizer {config.optimizer.name!r} has no b1; set config.schedule.b1=None.",
    )
    check(
        option is not None and config.optimizer.b1 == option.default,
        f"config.optimizer.b1: the schedule {config.schedule.name!r} changes b1, so {config.optimizer.get('b1')} would "
        f"not be used; set config.schedule.b1=None, or leave config.optimizer.b1 at its default.",
    )


def check_split(config: ConfigDict, devices: int) -> None:
    """Check that the batch, and its slices (`config.micro_batch`), divide evenly among the devices.

    Raises:
      UserError: naming the key.
    """
    batch, size, group = config.batch_size, config.micro_batch, config.batch_norm.group_size
    check(batch % devices == 0, f"config.batch_size: {batch} does not divide evenly among {devices} devices.")
    if size is None:
        return
    check(batch % size == 0, f"config.micro_batch: {size} does not divide config.batch_size, which is {batch}.")
    check(
        group is not None,
        "config.micro_batch: slices cannot be normalised over the whole batch; give config.batch_norm.group_size.",
    )
    check(
        size % (devices * group) == 0,
        f"config.micro_batch: {size} does not give each of {devices} devices whole groups of {group} "
        f"(config.batch_norm.group_size).",
    )
