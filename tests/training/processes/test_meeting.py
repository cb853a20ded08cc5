"""Processes that meet before JAX connects them; here each is a thread."""

import contextlib
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from mmcl_jax.errors import UserError
from mmcl_jax.training.processes import meeting
from mmcl_jax.training.processes.watch import LOST, Peer


class Ended(Exception):
    """The end of a process."""


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(sentence: str, status: int) -> None:
        raise Ended(sentence, status)

    monkeypatch.setattr(meeting, "end", end)


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def meet(
    numbers: list[int], count: int, *, address: str = "", limit: float = 20, about: Callable[[int], Any] = lambda n: {}
) -> list[Future[list[Peer]]]:
    address, pool = address or free_address(), ThreadPoolExecutor(len(numbers))
    futures = [pool.submit(meeting.meet, address, count, n, about(n), limit=limit) for n in numbers]
    pool.shutdown(wait=False)
    return futures


def close(futures: list[Future[list[Peer]]]) -> None:
    for peer in [peer for future in futures for peer in future.result()]:
        peer.connection.close()


def test_all_meet_the_first_whoever_comes_first() -> None:
    futures = meet([3, 1, 2, 0], 4)
    assert sorted(peer.process for peer in futures[3].result()) == [1, 2, 3]
    assert [[peer.process for peer in future.result()] for future in futures[:3]] == [[0]] * 3
    assert futures[0].result()[0].host == socket.gethostname()
    close(futures)


def test_two_jobs_on_one_host_whose_ports_are_the_same_do_not_mix() -> None:
    """Each finds its own first process, though the ports to try follow from the coordinator's in the same order."""
    ports = [15_000, 27_000]
    assert meeting._ports(ports[0]) == meeting._ports(ports[1])
    both = [meet([1, 2, 0], 3, address=f"localhost:{port}") for port in ports]
    for futures in both:
        assert sorted(peer.process for peer in futures[2].result()) == [1, 2]
        close(futures)


def test_a_late_process_is_named_by_all_who_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    futures = meet([0, 1], 4, limit=1.5)
    for future in futures:
        with pytest.raises(Ended, match=r"after 1\.5 s there is no answer from processes 2, 3 of 4") as ended:
            future.result()
        assert ended.value.args[1] == LOST
    assert "waiting for processes 2, 3 of 4" in capsys.readouterr().out


def test_a_coordinator_that_does_not_answer_is_named() -> None:
    address = free_address()
    (future,) = meet([1], 2, address=address, limit=1)
    with pytest.raises(Ended, match=f"no answer from process 0, .* {address}"):
        future.result()


@pytest.mark.parametrize("other", [1, 2])
def test_another_version_is_told_to_all(other: int) -> None:
    futures = meet([0, 1, 2], 3, about=lambda n: {"The version of jax": "0.10.1" if n == other else "0.10.2"})
    host = socket.gethostname()
    for future in futures:
        with pytest.raises(UserError) as raised:
            future.result()
        assert str(raised.value) == (
            f"The version of jax is 0.10.1 in process {other} on {host}, but 0.10.2 in process 0 on {host}; make it "
            "the same on all hosts."
        )


def test_two_processes_of_one_number_are_refused() -> None:
    address = free_address()
    futures = meet([0, 1, 1], 3, address=address)
    for future in futures:
        with pytest.raises(UserError, match=r"Process 1 on .* and on .* have the same number"):
            future.result()


def test_a_process_that_died_while_waiting_may_come_again() -> None:
    address = free_address()
    (first,) = meet([0], 3, address=address)
    hello = {"job": f"{address} 3", "process": 1, "host": "a", "about": {}}
    ports = meeting._ports(int(address.rpartition(":")[2]))

    def answers(port: int) -> bool:
        with contextlib.ExitStack() as opened:
            return bool(meeting._ask("localhost", port, hello, opened))

    while not any(answers(port) for port in ports):  # until process 0 listens
        assert not first.done()
    others = meet([1, 2], 3, address=address)
    assert sorted(peer.process for peer in first.result()) == [1, 2]
    close([first, *others])


def test_a_port_that_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMCL_WATCH_PORT", "80 80")
    with pytest.raises(UserError, match="MMCL_WATCH_PORT is '80 80', which is no port"):
        meeting.meet("localhost:1", 2, 0, {}, limit=1)
