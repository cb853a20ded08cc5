"""The meeting of the processes of a job, before JAX connects them: who is there, and whether all are the same version.

The first process listens on a port that follows from the coordinator's, so that no launcher has to name another one.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, TypedDict

from mmcl_jax.border import AtLeast, as_type, parse, to_json
from mmcl_jax.errors import UserError, check
from mmcl_jax.signals import end
from mmcl_jax.training.processes.watch import LOST, Peer

_NOTICE = 20.0  # seconds between two notices of who is missing
_ANSWER = 3.0  # seconds within which the first process answers, and any other process says who it is
_PORT = "MMCL_WATCH_PORT"

About = Mapping[str, str]


def meet(address: str, processes: int, process: int, about: About, *, limit: float) -> list[Peer]:
    """Wait until all processes are there, and return those that this process is connected with.

    Args:
      address: HOST:PORT of JAX's coordinator, which is in the first process.
      processes: of the job.
      process: the number of this one.
      about: what must be the same in all processes, by name, such as the version of JAX.
      limit: seconds to wait; without success the process ends with the status `LOST`.

    Raises:
      UserError: a process differs from the first one in `about`, which all raise; or two have the same number.
    """
    hello = {"job": f"{address} {processes}", "process": process, "host": socket.gethostname(), "about": dict(about)}
    with contextlib.ExitStack() as opened:
        peers = [_join(address, hello, limit, opened)] if process else _gather(address, processes, hello, limit, opened)
        opened.pop_all()  # the connections stay open, unless an error was raised
    return peers


def _gather(
    address: str, processes: int, hello: Mapping[str, Any], limit: float, opened: contextlib.ExitStack
) -> list[Peer]:
    """Return all other processes, which begin now, if they do not differ from this one, the first."""
    peers = _welcome(_listen(_ports(int(address.rpartition(":")[2]))), processes, hello, limit, opened)
    sentence = next(filter(None, (difference(hello, peer.asks) for peer in peers)), "")
    for peer in peers:
        peer.send({"begin": sentence})
    check(not sentence, sentence)
    return list(peers)


class _Hello(TypedDict):
    """How a process presents itself to the first one."""

    job: str
    process: Annotated[int, AtLeast(0)]
    host: str
    about: dict[str, str]


class _Answer(TypedDict, total=False):
    """An answer of the first process: its host, and later why not to begin, or ""; or why it ends."""

    welcome: str
    begin: str
    end: str


class _Guest(Peer):
    """A process that has joined, with what it said."""

    def __init__(self, connection: socket.socket, asks: _Hello) -> None:
        super().__init__(connection, asks["process"], asks["host"])
        self.asks = asks

    def is_there(self) -> bool:
        """Return whether the process has not ended meanwhile."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False


def difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return how another process differs from the first, in a sentence; "" if it does not.

    Example:
      >>> first = {"process": 0, "host": "a", "about": {"jax": "0.10.2"}}
      >>> difference(first, {"process": 1, "host": "b", "about": {"jax": "0.10.1"}})
      'jax is 0.10.1 in process 1 on b, but 0.10.2 in process 0 on a; make it the same on all hosts.'
    """
    own, its = first["about"], other["about"]
    for name in dict.fromkeys((*own, *its)):
        here, there = own.get(name, "none"), its.get(name, "none")
        if here != there:
            return (
                f"{name} is {there} in process {other['process']} on {other['host']}, but {here} in process "
                f"{first['process']} on {first['host']}; make it the same on all hosts."
            )
    return ""


def _ports(coordinator: int) -> list[int]:
    """Return the ports that may be tried, below those that Linux gives to outgoing connections."""
    if _PORT in os.environ:
        port = os.environ[_PORT]
        check(port.isdigit() and 0 < int(port) < 2**16, f"{_PORT} is {port!r}, which is no port.")
        return [int(port)]
    return [20_000 + (7 * coordinator + 1_009 * attempt) % 12_000 for attempt in range(8)]


def _listen(ports: Iterable[int]) -> socket.socket:
    for port in ports:
        with contextlib.suppress(OSError):  # another program has this port
            if socket.has_dualstack_ipv6():
                return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
            return socket.create_server(("", port))
    raise UserError(f"No port of {', '.join(map(str, ports))} is free for heartbeats; name a free one with {_PORT}.")


def _welcome(
    server: socket.socket, processes: int, hello: Mapping[str, Any], limit: float, opened: contextlib.ExitStack
) -> list[_Guest]:
    """Accept all other processes of the job."""
    guests: dict[int, _Guest] = {}
    waiting = _Waiting(limit, lambda: _missing(set(range(1, processes)) - set(guests), processes))
    with server:
        while len(guests) < processes - 1:
            if sentence := waiting.over():
                for guest in guests.values():
                    guest.send({"end": sentence})
                end(sentence, LOST)
            server.settimeout(waiting.pause())
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            opened.enter_context(connection)
            asks: _Hello | None = _line(connection, _Hello)
            if asks is None or asks["job"] != hello["job"]:
                connection.close()
                continue
            number, host = asks["process"], asks["host"]
            if number in guests and guests[number].is_there():  # a launcher gave two processes the same variables
                sentence = f"Process {number} on {guests[number].host} and on {host} have the same number; see their "
                sentence += "environment variables."
                for peer in (*guests.values(), Peer(connection, number, host)):
                    peer.send({"begin": sentence})
                raise UserError(sentence)
            if number in guests:  # died while it waited, and was started again
                guests[number].connection.close()
            guests[number] = _Guest(connection, asks)
            guests[number].send({"welcome": hello["host"]})
    return list(guests.values())


def _join(address: str, hello: Mapping[str, Any], limit: float, opened: contextlib.ExitStack) -> Peer:
    """Connect with the first process, and wait until all others have."""
    host, _, port = address.rpartition(":")
    ports = _ports(int(port))
    waiting = _Waiting(limit, lambda: f"process 0, whose address (of the coordinator) is {address}")
    while True:
        if sentence := waiting.over():
            end(sentence, LOST)
        for candidate in ports:
            peer = _ask(host.strip("[]"), candidate, hello, opened)
            if peer is not None:
                break
        else:
            time.sleep(min(0.2, waiting.pause()))
            continue
        answer: _Answer | None = _line(peer.connection, _Answer, limit + 2 * _ANSWER)
        if answer is None:
            end(f"{peer} is gone before all processes were there; the same command begins again.", LOST)
        if "end" in answer:
            end(answer["end"], LOST)
        check(not answer.get("begin"), answer.get("begin", ""))
        return peer


def _ask(host: str, port: int, hello: Mapping[str, Any], opened: contextlib.ExitStack) -> Peer | None:
    """Return the connection with the first process, if it is at this port."""
    try:
        connection = opened.enter_context(socket.create_connection((host, port), timeout=_ANSWER))
        connection.sendall(to_json(hello).encode() + b"\n")
    except OSError:
        return None
    answer: _Answer | None = _line(connection, _Answer)
    if answer is None or not {"welcome", "begin"} & set(answer):
        connection.close()
        return None
    check(not answer.get("begin"), answer.get("begin", ""))
    return Peer(connection, 0, answer.get("welcome", ""))


def _line(connection: socket.socket, kind: Any, seconds: float = _ANSWER) -> Any:
    """Receive one message of a type, and no byte more; None if there is none."""
    connection.settimeout(seconds)
    line = b""
    try:
        while not line.endswith(b"\n"):
            byte = connection.recv(1)
            if not byte or len(line) > 2**16:
                return None
            line += byte
        connection.settimeout(None)
        return as_type(kind, parse(line))
    except (OSError, ValueError):
        return None


class _Waiting:
    """The time that a process waits for others, with notices of who is missing."""

    def __init__(self, limit: float, missing: Callable[[], str]) -> None:
        self._began, self._limit, self._missing = time.monotonic(), limit, missing
        self._next = min(_NOTICE, limit / 2)

    def pause(self) -> float:
        """Return the seconds until there is something to say."""
        return max(0.01, min(self._next, self._limit) - (time.monotonic() - self._began))

    def over(self) -> str:
        """Return the sentence with which to end when the time is over, else ""; print a notice when it is due."""
        waited = time.monotonic() - self._began
        if waited >= self._limit:
            return f"after {self._limit:g} s there is no answer from {self._missing()}; the same command tries again."
        if waited >= self._next:
            self._next += _NOTICE
            print(f"waiting for {self._missing()}", flush=True)
        return ""


def _missing(numbers: set[int], processes: int) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:8])) + (", ..." if len(numbers) > 8 else "")
    return f"{'process' if len(numbers) == 1 else 'processes'} {shown} of {processes}"
