"""Fair timing on a noisy machine: contestants take turns, and the result is their median time."""

import statistics
import time
from collections.abc import Callable, Mapping


def race(contestants: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Return the median seconds of each contestant, which must wait for its result; first turns are left out."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, run in contestants.items():
            began = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}
