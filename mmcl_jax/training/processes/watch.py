"""Connections between the first process of a job and every other one, by which each learns that another is lost.

A thread of every process sends a heartbeat each second or so. A process that is killed closes its connection at once; a
process that is stopped, or whose host is cut off, falls silent. The first process tells all others, and each ends with
one sentence and the status `LOST`. Work on the host and compilation hold up no heartbeat.

The connections also carry the values that processes exchange without their devices. A message is a line of JSON, and a
heartbeat an empty line.
"""

import contextlib
import os
import queue
import selectors
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from mmcl_jax import signals
from mmcl_jax.border import as_type, parse, to_json

LOST = os.EX_UNAVAILABLE  # the exit status of a process that cannot go on without another; the same command continues
_SHARED = (2, os.EX_TEMPFAIL)  # statuses of one process that all others end with: bad input, and asked to stop
_ENDS = ", so this process ends, too; the same command continues."
_GRACE = 5.0  # seconds in which a process ends by itself, after another has ended with an error


class _Message(TypedDict, total=False):
    """A value for the process; or the status with which the other one ends, and why this process ends, too."""

    value: Any
    status: int
    end: str


class Peer:
    """Another process, at the other end of a connection."""

    def __init__(self, connection: socket.socket, process: int, host: str) -> None:
        """Take a connection, and who is at its other end."""
        self.connection, self.process, self.host = connection, process, host
        self.silent = 0.0  # seconds since the process was last heard, while this process was running
        self.left: int | None = None  # the exit status that it announced
        self._received, self._sending = b"", threading.Lock()

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; nothing happens if the process is gone, which the watching thread finds out."""
        with self._sending, contextlib.suppress(OSError):
            self.connection.sendall(to_json(message).encode() + b"\n")

    def beat(self) -> None:
        """Send a heartbeat, unless a message is being sent, which is as good as one."""
        if self._sending.acquire(blocking=False):
            with contextlib.suppress(OSError):
                self.connection.send(b"\n", socket.MSG_DONTWAIT)
            self._sending.release()

    def messages(self) -> list[_Message] | None:
        """Receive, without waiting for more; return the whole messages, or None at the end of the connection.

        A process that sends anything else counts as gone.
        """
        try:
            data = self.connection.recv(2**20)
        except OSError:
            data = b""
        if not data:
            return None
        self.silent = 0.0
        *lines, self._received = (self._received + data).split(b"\n")
        try:
            return [as_type(_Message, parse(line)) for line in lines if line]
        except ValueError:
            return None


class Watch:
    """The connections of one process: of the first process to all others, of every other process to the first."""

    def __init__(self, process: int, peers: Sequence[Peer], *, limit: float) -> None:
        """Start to watch.

        Args:
          process: the number of this process.
          peers: the connected processes.
          limit: seconds of silence after which a process is lost.
        """
        self.process, self.limit = process, limit
        self._all, self._open = tuple(peers), {peer.connection: peer for peer in peers}
        self._inbox = queue.SimpleQueue[tuple[int, Any]]()
        self._status: int | None = None  # with which this process leaves
        self._due: tuple[float, str, int] | None = None  # when it ends because of another one, and how
        self._thread = threading.Thread(target=self._run, daemon=True, name="watch the other processes")
        self._thread.start()
        signals.reports.append(lambda sentence, status: self.leave(status, sentence))

    def send(self, value: Any) -> None:
        """Send a JSON value to the first process, or from the first process to all others."""
        for peer in self._all:
            peer.send({"value": value})

    def receive(self) -> tuple[int, Any]:
        """Wait for a value; return it with the number of the process that sent it."""
        return self._inbox.get()

    def received(self) -> list[tuple[int, Any]]:
        """Return the values that have come, as `receive` does, without waiting for more."""
        return [self._inbox.get() for _ in range(self._inbox.qsize())]

    def leave(self, status: int, sentence: str = "") -> None:
        """Tell the other processes that this process ends with a status; after status 0 they go on.

        With a sentence they end at once, too, with that sentence and status, and else soon. The first process waits for
        them, since JAX aborts the others when its coordinator is gone.
        """
        if self._status is not None:
            return
        self._status = status
        for peer in self._hearing():
            peer.send({"end": sentence, "status": status} if sentence else {"status": status})
        until = time.monotonic() + _GRACE + 1
        while status and self.process == 0 and self._hearing() and time.monotonic() < until:
            if threading.current_thread() is self._thread:
                self._listen(0.05)
            else:
                time.sleep(0.05)

    def _hearing(self) -> list[Peer]:
        """Return the processes that have not left and are not lost."""
        return [peer for peer in [*self._open.values()] if peer.left is None and peer.silent <= self.limit]

    def _run(self) -> None:
        """Watch until the process ends."""
        tick = min(1.0, self.limit / 8)
        last = beaten = time.monotonic()
        while True:
            self._listen(tick)
            now = time.monotonic()
            # A process that was itself stopped, as a suspended job is, has not been listening meanwhile.
            elapsed, last = min(now - last, 2 * tick), now
            for peer in self._open.values():
                peer.silent += elapsed
                if peer.silent > self.limit and peer.left is None:  # an interpreter that ends is silent
                    self._end(f"{peer} has not answered for {self.limit:g} s{_ENDS}", LOST)
            if now - beaten >= tick:
                beaten = now
                for peer in self._open.values():
                    peer.beat()
            if self._due is not None and now > self._due[0]:
                self._end(*self._due[1:])

    def _listen(self, seconds: float) -> None:
        """Handle what the processes send, for at most so long."""
        if not self._open:
            time.sleep(seconds)
            return
        with selectors.DefaultSelector() as selector:
            for peer in self._open.values():
                selector.register(peer.connection, selectors.EVENT_READ, peer)
            ready = [key.data for key, _ in selector.select(seconds)]
        for peer in ready:
            self._hear(peer)

    def _hear(self, peer: Peer) -> None:
        """Handle what a process has sent, or that it is gone."""
        messages = peer.messages()
        if messages is None:
            del self._open[peer.connection]
            if peer.left is None:
                self._end(f"{peer} is gone{_ENDS}", LOST)
            return
        for message in messages:
            if "value" in message:
                self._inbox.put((peer.process, message["value"]))
                continue
            peer.left = status = message["status"]
            if "end" in message:
                self._end(message["end"], status)
            elif status and self._due is None:
                # Processes that save at an agreed step leave one after the other.
                grace = self.limit if status == os.EX_TEMPFAIL else _GRACE
                sentence = f"{peer} has ended with status {status}; see its message."
                self._due = (time.monotonic() + grace, sentence, status if status in _SHARED else LOST)

    def _end(self, sentence: str, status: int) -> None:
        """End this process, unless it is leaving already."""
        if self._status is None:
            signals.end(sentence, status)
