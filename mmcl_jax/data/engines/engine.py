"""Running one function on many items in this process, or in several processes of this machine."""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from typing import Any, Protocol

from mmcl_jax.data.workers import pool

Function = Callable[[Any], Any]
Begin = Callable[[], AbstractContextManager[Function]]  # is called once per process, and gives the function


class Engine(Protocol):
    """What runs a function on items."""

    def run(self, begin: Begin, items: Iterable[Any]) -> Generator[tuple[int, Any], None, None]:
        """Yield the index of every item, with the function's result for it, in the order in which they are done.

        Close the generator to stop the work early.

        Args:
          begin: opens what a process needs, and gives the function; can be pickled.
          items: JSON values, which are taken as they are needed; the results are JSON values, too.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Processes:
    """The engine of one machine: a pool of spawned processes or, with one worker, the process that calls."""

    workers: int = 1

    def run(self, begin: Begin, items: Iterable[Any]) -> Generator[tuple[int, Any], None, None]:
        """Yield the index and result of every item; see `Engine.run`."""
        numbered = iter(enumerate(items))
        first = list(itertools.islice(numbered, self.workers))  # no more processes than items
        numbered = itertools.chain(first, numbered)
        if len(first) <= 1:
            with begin() as function:
                for index, item in numbered:
                    yield index, function(item)
            return
        workers = len(first)
        processes = pool(workers, _begin, begin)
        pending: dict[Future[Any], int] = {}
        try:
            while True:
                for index, item in itertools.islice(numbered, 4 * workers - len(pending)):
                    pending[processes.submit(_call, item)] = index
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    yield pending.pop(future), future.result()
        finally:
            processes.shutdown(cancel_futures=True)


@contextlib.contextmanager
def plain(function: Function) -> Iterator[Function]:
    """Give a function that needs nothing to be opened; `functools.partial(plain, function)` is its `Begin`."""
    yield function


_worker = contextlib.ExitStack()  # what this worker process has opened
_function: list[Function] = []


def _begin(begin: Begin) -> None:
    _function.append(_worker.enter_context(begin()))


def _call(item: Any) -> Any:
    return _function[0](item)
