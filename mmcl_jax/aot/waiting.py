"""A message while something takes minutes: how long it may take, and, in a log, how long it has taken."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

from mmcl_jax.training.outlook import working

_SECONDS_BETWEEN_LINES = 30.0


@contextlib.contextmanager
def waiting(what: str, seconds: float, *, quiet: bool = False) -> Iterator[None]:
    """Show that `what` is in progress, and that it takes about so many seconds on two idle cores."""
    ended, began = threading.Event(), time.monotonic()

    def tell() -> None:
        while not ended.wait(_SECONDS_BETWEEN_LINES):
            print(f"{what}: {time.monotonic() - began:.0f} s so far", file=sys.stderr, flush=True)

    about = f"about {seconds / 60:.0f} min" if seconds > 90 else f"about {max(1, seconds):.0f} s"
    with working(f"{what} ({about} on two idle cores)", quiet=quiet):
        if quiet or sys.stderr.isatty():  # a terminal shows the time anyway
            yield
            return
        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()
