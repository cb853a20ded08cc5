"""Round numbers for an axis."""

import math
from collections.abc import Sequence


def ends(values: Sequence[float]) -> tuple[float, float]:
    """Round ends of an axis with some room around the values.

    Example:
      >>> ends([91.2, 93.0])
      (91.0, 93.2)
    """
    low, high = min(values), max(values)
    room = max(0.05 * (high - low), 0.05)
    step = _step(high - low + 2 * room)
    return _tidy(step * math.floor((low - room) / step)), _tidy(step * math.ceil((high + room) / step))


def marks(low: float, high: float) -> list[float]:
    """Round values from one end to the other."""
    step = _step(high - low)
    first = math.ceil(low / step - 1e-9)
    return [_tidy(step * place) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def _step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, of which at most ten make the span."""
    power = 10.0 ** math.floor(math.log10(span))
    return next(power * step for step in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (power * step) <= 10)


def _tidy(value: float) -> float:
    return round(value, 6)
