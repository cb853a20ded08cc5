"""The collectives of a compiled program, read from its text (HLO after optimisation).

A *logical* collective is one message among devices, whatever the compiler makes of it. TPU programs overlap a message
with other work by cutting it into pieces, which share a `chain_id` and each show the shape of the whole; and a
reduce-scatter may show as an all-reduce inside a fusion that calls `%all-reduce-scatter`, which sends its result alone.
GPU programs concatenate the arrays of a message before they send them.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

_KINDS = "|".join(KINDS)
_COLLECTIVE = re.compile(rf"%?([\w.\-]+) = (.*?) ({_KINDS})(-start|-done)?\(%?([\w.\-]*)")
_ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%?([\w.\-]+)")
_BELOW = re.compile(r"ROOT .* compare\(%?[\w.\-]+, %?([\w.\-]+)\), direction=LT")
_HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \((.*)\) -> (.*) \{")
_CONCATENATED = re.compile(r"%?([\w.\-]+) = .* fusion\(.*calls=%?(wrapped_concatenate[\w.\-]*)")
_CHAIN = re.compile(r'chain_id="(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
_SYNCHRONOUS = '"is_sync":true'
_FUSED_SCATTER, _OVERLAPPING = "all-reduce-scatter", "async_collective_fusion"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collective:
    """A logical collective of a program.

    Attributes:
      kind: of `KINDS`.
      arrays: types and shapes that a device receives, such as "bf16[512,128]"; one message may carry several.
      times: how often it is sent in a step; more than once in a loop.
      overlapped: whether the device computes while the message is sent.
      origin: the operation of the traced program, such as "jit(step)/jvp()/shard_map/all_gather"; "" if the compiler
        names none.
    """

    kind: str
    arrays: tuple[str, ...]
    times: int
    overlapped: bool
    origin: str = ""

    @property
    def bytes(self) -> int:
        """The bytes that one device receives in a step."""
        return self.times * sum(map(bytes_of, self.arrays))


def collectives_of(text: str) -> list[Collective]:
    """Return the logical collectives in the text of a compiled program, in the order of the text."""
    return list(_Reader(text).read())


def by_kind(collectives: Iterable[Collective]) -> dict[str, dict[str, int]]:
    """Return how often each kind is sent in a step, as `count`, and the `bytes` that a device receives."""
    totals = {kind: {"count": 0, "bytes": 0} for kind in KINDS}
    for one in collectives:
        totals[one.kind]["count"] += one.times
        totals[one.kind]["bytes"] += one.bytes
    return {kind: total for kind, total in totals.items() if total["count"]}


def bytes_of(array: str) -> int:
    """Return the bytes of an array of this type and shape.

    >>> bytes_of("bf16[512,128]"), bytes_of("pred[3]"), bytes_of("f32[]")
    (131072, 3, 4)
    """
    found = _ARRAY.fullmatch(array)
    assert found is not None
    bits = 8 if found[1] == "pred" else int(re.sub(r"[a-z]+", "", found[1].partition("e")[0]))
    return math.prod(int(side) for side in found[2].split(",") if side) * bits // 8


class _Reader:
    """The computations of a program by name, each with its lines, and the walk through them."""

    def __init__(self, text: str) -> None:
        self.lines: dict[str, list[str]] = {}
        self.parameters: dict[str, str] = {}
        self.results: dict[str, str] = {}
        self.entry = name = ""
        for line in text.splitlines():
            if head := _HEAD.match(line):
                name = head[2]
                self.lines[name], self.parameters[name], self.results[name] = [], head[3], head[4]
                self.entry = name if head[1] else self.entry
            elif line == "}":
                name = ""
            elif name:
                self.lines[name].append(line)
        self._chains: set[tuple[Any, ...]] = set()

    def read(self) -> Iterator[Collective]:
        return self._in(self.entry, times=1, overlapped=False)

    def _in(self, name: str, *, times: int, overlapped: bool) -> Iterator[Collective]:
        starts: dict[str, str] = {}
        concatenated: dict[str, str] = {}
        for line in self.lines[name]:
            if found := _COLLECTIVE.search(line):
                own, result, kind, phase, operand = found.groups()
                if phase == "-start":
                    starts[own] = line
                    continue
                start = starts.get(operand, line) if phase else line
                sent = _COLLECTIVE.search(start)
                parts = concatenated.get(sent[5]) if sent and kind == "all-reduce" else None
                arrays = _arrays(result) if parts is None else _arrays(self.parameters[parts])
                chain = _CHAIN.search(line)
                piece = (kind, arrays, chain[1]) if chain else None
                if piece in self._chains:
                    continue
                self._chains |= {piece} if piece else set()
                is_async = phase == "-done" and _SYNCHRONOUS not in start
                origin = _OP_NAME.search(start) or _OP_NAME.search(line)
                yield Collective(
                    kind=kind,
                    arrays=arrays,
                    times=times,
                    overlapped=overlapped or is_async or bool(piece),
                    origin=origin[1] if origin else "",
                )
            elif "async-done(" in line or "async-update(" in line:
                continue  # their computation was read at its start
            elif found := _CONCATENATED.search(line):
                concatenated[found[1]] = found[2]
            else:
                inside = overlapped or "async-start(" in line or _OVERLAPPING in line
                for called in _called(line):
                    if called.startswith(_FUSED_SCATTER):
                        yield self._scattered(called, line, times, overlapped)
                    elif called in self.lines:
                        yield from self._in(called, times=times * self._trips(line), overlapped=inside)

    def _trips(self, line: str) -> int:
        """Return how often the computations that a line calls are run: the bound of a loop's counter, or once."""
        if known := _TRIPS.search(line):
            return int(known[1])
        condition = _CONDITION.search(line)
        lines = self.lines.get(condition[1], []) if condition else []
        bounds = [found[1] for one in lines if (found := _BELOW.search(one))]
        for one in lines:
            if bounds and f"%{bounds[0]} = " in one and (constant := re.search(r" constant\((\d+)\)", one)):
                return int(constant[1])
        return 1

    def _scattered(self, called: str, line: str, times: int, overlapped: bool) -> Collective:
        """Return the reduce-scatter that a fusion computes."""
        origin = _OP_NAME.search("\n".join([line, *self.lines[called]]))
        arrays = _arrays(self.results[called])
        name = origin[1] if origin else ""
        return Collective(kind="reduce-scatter", arrays=arrays, times=times, overlapped=overlapped, origin=name)


def _called(line: str) -> list[str]:
    branches = _BRANCHES.search(line)
    return _CALLED.findall(line) + (re.findall(r"%?([\w.\-]+)", branches[1]) if branches else [])


def _arrays(result: str) -> tuple[str, ...]:
    return tuple(f"{kind}[{shape}]" for kind, shape in _ARRAY.findall(result))
