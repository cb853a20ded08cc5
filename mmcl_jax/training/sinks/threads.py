"""Sinks in threads of their own, so that one that is slow, or fails, neither delays nor ends the training."""

import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypedDict

from mmcl_jax.border import read_summed, to_json
from mmcl_jax.border.checksum import with_checksum
from mmcl_jax.files import write_text
from mmcl_jax.text import visible
from mmcl_jax.training.sinks import Session, open_sink

_LONGEST = 60.0  # seconds that the end of a training waits for a sink
_LONGEST_STOPPED = 10.0  # after a stop: schedulers kill a process some 30 s after they asked it to end
_REMEDY = "remove it, and the program begins a new run"
_WAITING = 10_000  # logged steps that wait for a slow sink


class _Identity(TypedDict):
    id: str


class Sinks:
    """The sinks of one session of a training; only the first process opens them.

    A sink that raises an exception, or is too slow, is closed, and a line says so once.
    """

    def __init__(self, names: Iterable[str], session: Session, *, log: Callable[[str], None]) -> None:
        """Start to open the sinks; `log` prints a line."""
        self._threads = [_SinkThread(name, session, log) for name in names]

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand the metrics of a step to all sinks, without waiting for them."""
        for thread in self._threads:
            thread.put((step, dict(metrics)))

    def close(self, *, finished: bool) -> None:
        """Wait until all sinks have taken everything, or for a minute; after a stop, for ten seconds."""
        for thread in self._threads:
            thread.finished = finished
            thread.put(None)
        until = time.monotonic() + (_LONGEST if finished else _LONGEST_STOPPED)
        for thread in self._threads:
            thread.wait(until - time.monotonic())


class _SinkThread:
    def __init__(self, name: str, session: Session, log: Callable[[str], None]) -> None:
        self.finished = False
        self._name, self._log = name, log
        # What a sink calls the run is stored with the run, so that a later session continues it.
        self._file = session.directory / "sinks" / f"{name}.json"
        self._session = session
        self._queue: queue.Queue[tuple[int, Mapping[str, float]] | None] = queue.Queue(_WAITING)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name=f"sink {name}")
        self._thread.start()

    def put(self, item: tuple[int, Mapping[str, float]] | None) -> None:
        if self._ended.is_set():
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            self._end(f"it has not taken the last {_WAITING:,} logged steps")

    def wait(self, seconds: float) -> None:
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self._end("it has not taken everything in time at the end")

    def _work(self) -> None:
        try:
            kept: _Identity | None = read_summed(self._file, _Identity, _REMEDY) if self._file.exists() else None
            identity = None if kept is None else kept["id"]
            sink = open_sink(self._name, dataclasses.replace(self._session, identity=identity))
            if sink.identity not in (None, identity):
                self._file.parent.mkdir(exist_ok=True)
                write_text(self._file, to_json(with_checksum({"id": sink.identity})) + "\n")
            while (item := self._queue.get()) is not None and not self._ended.is_set():
                sink.log(*item)
            sink.close(finished=self.finished)
        except Exception as error:  # of any library, such as one whose server cannot be reached
            self._end(next(iter(str(error).strip().splitlines()), type(error).__name__))

    def _end(self, reason: str) -> None:
        if not self._ended.is_set():
            self._ended.set()
            self._log(visible(f"config.sinks: {self._name} failed, and gets no more metrics: {reason}"))
