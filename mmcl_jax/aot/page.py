"""The page that tells what a step needs on a machine."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmcl_jax.aot.needs import Needs
from mmcl_jax.text import visible
from mmcl_jax.versions import versions

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Page:
    """What a step needs, in words for people and in numbers for programs.

    Attributes:
      experiment: its name.
      needs: of the step.
      notes: further sentences, such as on data that are assumed.
      tried: changes that were tried, as overrides of the config, each with what the step then needs, or with the
        sentence that refuses the change.
    """

    experiment: str
    needs: Needs
    notes: Sequence[str] = ()
    tried: Sequence[tuple[tuple[str, ...], Needs | str]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the page as JSON values."""
        return {
            "experiment": self.experiment,
            **_values(self.needs),
            "notes": list(self.notes),
            "versions": versions(),
            "tried": [
                {"overrides": list(overrides), **({"refused": one} if isinstance(one, str) else _values(one))}
                for overrides, one in self.tried
            ],
        }

    def __str__(self) -> str:
        """Return the page as text."""
        needs = self.needs
        lines = [
            f"{visible(self.experiment)} on {needs.machine}: {needs.batch_size:,} rows per step, "
            f"{needs.batch_size // needs.devices:,} per device, {needs.dtype}",
            *self.notes,
            "",
            _verdict(needs),
            *(f"  {name:22} {_size(size):>12}" for name, size in needs.memory.items()),
            f"  {'(pairs by themselves)':22} {_size(needs.pairs):>12}",
            "",
            *_speed(needs),
            "",
            *_messages(needs),
            *_changes(self.tried),
            "",
            f"compiled in {needs.seconds:.0f} s by {needs.compiler}",
        ]
        return "\n".join(lines)


def _verdict(needs: Needs) -> str:
    if needs.limit is None:
        return f"It needs {_size(needs.total)} per device; how much a device has is not known."
    verb, rest = ("fits", "are left") if needs.fits else ("does not fit", "are missing")
    difference = _size(abs(needs.limit - needs.total))
    return f"It {verb}: {_size(needs.total)} of {_size(needs.limit)} per device; {difference} {rest}."


def _speed(needs: Needs) -> list[str]:
    moved = "unknown" if needs.moved is None else f"{_number(needs.moved / 1e9)} GB"
    lines = [f"Per device and step: {moved} moved, {_number(needs.flops / 1e9)} GFLOP (matrix products, convolutions)."]
    if needs.bound is None or needs.rows_per_second is None:
        return [*lines, "The limits of this device are not known, so there is no bound."]
    bound = needs.bound
    ratio = (
        "" if bound.intensity is None else f" ({bound.intensity:,.0f} FLOP per byte; the chip has {bound.ridge:,.0f})"
    )
    at_least = "Bound by compute, if not by memory" if needs.moved is None else f"Bound by {bound.by}"
    least = f"at least {_number(1e3 * bound.seconds)} ms per step, at most {needs.rows_per_second:,.0f} rows/s"
    return [*lines, f"{at_least}{ratio}: {least}."]


def _messages(needs: Needs) -> list[str]:
    if needs.refused:
        return ["The compiler refuses a step that does not fit, so nothing is known of its bytes and messages."]
    if not needs.collectives:
        return ["No messages among devices."]
    lines = ["Messages among devices, with what one device receives per step:"]
    for one, purpose in needs.collectives:
        arrays = one.arrays[0] if len(one.arrays) == 1 else f"{len(one.arrays)} arrays"
        times = f" x {one.times}" if one.times > 1 else ""
        how = "overlapped" if one.overlapped else "waited for"
        lines.append(
            f"  {one.kind:18} {arrays + times:24} {_size(one.bytes):>12}  {how:10}  {purpose or 'UNEXPLAINED'}"
        )
    count = len(needs.unexplained)
    if count:
        lines.append(f"WARNING: the design of the step does not explain {count} of them.")
    return lines


def _changes(tried: Sequence[tuple[tuple[str, ...], Needs | str]]) -> list[str]:
    if not tried:
        return []
    lines = ["", "Changes that were tried:"]
    for overrides, one in tried:
        words = " ".join(f"--config.{override}" for override in overrides)
        lines.append(f"  {words}")
        lines.append(f"    {one if isinstance(one, str) else _verdict(one)}")
        if not isinstance(one, str) and one.rows_per_second:
            lines.append(f"    {_speed(one)[-1]}")
    return lines


def _values(needs: Needs) -> dict[str, Any]:
    fields = {field.name: getattr(needs, field.name) for field in dataclasses.fields(needs)}
    collectives = [
        {**dataclasses.asdict(one), "bytes": one.bytes, "purpose": purpose} for one, purpose in needs.collectives
    ]
    return {
        **fields,
        "memory": dict(needs.memory),
        "bound": dataclasses.asdict(needs.bound) if needs.bound else None,
        "collectives": collectives,
        "fits": needs.fits,
        "total": needs.total,
        "rows_per_second": needs.rows_per_second,
        "unexplained": len(needs.unexplained),
    }


def _size(size: float) -> str:
    unit, scale = next((one for one in _UNITS if size >= one[1]), ("bytes", 1))
    return f"{size:,.0f} bytes" if scale == 1 else f"{size / scale:,.{2 if unit == 'GiB' else 1}f} {unit}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
