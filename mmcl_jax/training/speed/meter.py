"""The speed of a training: samples per second, and how much of the accelerator that uses."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr
from ml_collections import ConfigDict

from mmcl_jax.data.inputs import InputSpec
from mmcl_jax.training.chips import chip_of
from mmcl_jax.training.flops import model_flops
from mmcl_jax.training.speed.clock import Clock


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What one step does.

    Attributes:
      samples: in a global batch.
      unit: what the samples are called: "images", or "samples" where no input is an image.
      flops: of the model, on all devices together; see `flops.model_flops`.
      moved: bytes between one device and its memory, as XLA estimates them; 0 where it does not.
      peak: FLOP/s of all devices together; None where it is not known, as on CPUs.
      bandwidth: bytes per second between one device and its memory; None where it is not known.
    """

    samples: int
    unit: str = "images"
    flops: float = 0.0
    moved: float = 0.0
    peak: float | None = None
    bandwidth: float | None = None

    @classmethod
    def of(
        cls,
        config: ConfigDict,
        inputs: Mapping[str, InputSpec],
        jaxpr: ClosedJaxpr,
        compiled: Any,
        device: jax.Device,
        devices: int,
    ) -> "Work":
        """Return the work of the step of an experiment.

        Args:
          config: the experiment.
          inputs: the experiment's inputs, by name.
          jaxpr: the traced step.
          compiled: the compiled step.
          device: one of its devices.
          devices: their number.
        """
        chip = chip_of(device)
        peak = None if chip is None else chip.flops.get(config.dtype)
        cost = compiled.cost_analysis() or {}
        return cls(
            samples=config.batch_size,
            unit="images" if any(spec.kind == "image" for spec in inputs.values()) else "samples",
            flops=model_flops(jaxpr),
            moved=max(0.0, float(cost.get("bytes accessed", 0.0))),
            peak=None if peak is None else peak * devices,
            bandwidth=None if chip is None else chip.bandwidth,
        )

    def speed(self, steps: int, seconds: float, waited: float) -> dict[str, float]:
        """Return the speed of some steps that took `seconds`, of which the devices waited for input for `waited`.

        "samples_per_second"; "input_wait", the share of the time; and where the limits of the devices are known, "mfu",
        model FLOPs utilisation (Chowdhery et al., 2022), and "bandwidth", the share of the memory bandwidth.
        """
        if not steps or seconds <= 0:
            return {}
        speed = {"samples_per_second": self.samples * steps / seconds, "input_wait": min(1.0, waited / seconds)}
        if self.peak:
            speed["mfu"] = self.flops * steps / seconds / self.peak
        if self.bandwidth and self.moved:
            speed["bandwidth"] = self.moved * steps / seconds / self.bandwidth
        return speed

    def describe(self, speed: Mapping[str, float]) -> str:
        """Return a speed in words; of the two shares of the device's limits, the larger is the one that binds.

        Example:
          >>> Work(samples=8).describe({"samples_per_second": 1234.5, "input_wait": 0.021, "mfu": 0.34})
          '1,234 images/s, MFU 34 %, input 2 %'
        """
        if not speed:
            return ""
        rate = speed["samples_per_second"]
        words = [f"{rate:,.0f} {self.unit}/s" if rate >= 100 else f"{rate:.3g} {self.unit}/s"]
        shares = {"MFU": speed.get("mfu", math.nan), "memory bandwidth": speed.get("bandwidth", math.nan)}
        known = {name: share for name, share in shares.items() if not math.isnan(share)}
        if known:
            name = max(known, key=known.__getitem__)
            words.append(f"{name} {100 * known[name]:.0f} %")
        return ", ".join([*words, f"input {100 * speed['input_wait']:.0f} %"])


class Speedometer:
    """The speed between logged steps of one session."""

    def __init__(self, work: Work, clock: Clock, *, start: int) -> None:
        """Take the work of a step, the session's clock, and the step that it starts from."""
        self.work, self._clock, self._step = work, clock, start
        self._seconds, self._waited = 0.0, 0.0

    def at(self, step: int) -> dict[str, float]:
        """Return the speed since the last call; `step` was just seen to be done."""
        seconds, waited = self._clock.stepping()
        speed = self.work.speed(step - self._step, seconds - self._seconds, waited - self._waited)
        self._step, self._seconds, self._waited = step, seconds, waited
        return speed
