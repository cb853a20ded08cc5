"""Asking to stop."""

import signal
import threading

from mmcl_jax.training.stop import stop_on_signal


def test_signals_only_ask_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal() as stop:
        assert not stop.asked
        signal.raise_signal(signal.SIGTERM)
        assert stop.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_cannot_handle_signals_and_do_not_try() -> None:
    asked: list[bool] = []

    def work() -> None:
        with stop_on_signal() as stop:
            asked.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert asked == [False]
