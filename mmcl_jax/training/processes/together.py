"""What the processes of a job do together: decide, compare, and exchange values."""

import hashlib
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from mmcl_jax.errors import UserError, check
from mmcl_jax.training.processes.meeting import difference
from mmcl_jax.training.processes.start import others


def is_primary() -> bool:
    """Return whether this is the first process, which prints and writes."""
    return jax.process_index() == 0


def broadcast_from_primary(function: Callable[[], bool]) -> bool:
    """Call a function in the first process alone, and return its result in all: their file systems may lag behind.

    Raises:
      UserError: the function raised a `UserError`, which the first process raises itself.
    """
    result, error = False, None
    if is_primary():
        try:
            result = function()
        except UserError as raised:
            error = raised
    result, failed = multihost_utils.broadcast_one_to_all(np.array([result, error is not None]))
    if error is not None:
        raise error
    check(not failed, "The first process has failed; see its message.")
    return bool(result)


def shared(value: Any) -> Any:
    """Return the first process's `value`, a JSON value, in all processes."""
    channel = others()
    if channel is None:
        return value
    if is_primary():
        channel.send(value)
        return value
    return channel.receive()[1]


def check_same(about: Mapping[str, Any]) -> None:
    """Check that all processes were given the same values, which JSON can hold, by name.

    Raises:
      UserError: in all processes, if one differs from the first; the sentence names its host and the value.
    """
    channel = others()
    if channel is None:
        return
    given = {name: _short(json.dumps(value, sort_keys=True, default=str)) for name, value in about.items()}
    mine = {"process": jax.process_index(), "host": socket.gethostname(), "about": given}
    sentence = ""
    if is_primary():
        heard = sorted((channel.receive()[1] for _ in range(jax.process_count() - 1)), key=lambda one: one["process"])
        sentence = next(filter(None, (difference(mine, other) for other in heard)), "")
    else:
        channel.send(mine)
    sentence = shared(sentence)
    check(not sentence, sentence)


def _short(text: str) -> str:
    """Return a text, or of a long one its beginning and a hash."""
    return text if len(text) <= 80 else f"{text[:60]}... (hash {hashlib.sha256(text.encode()).hexdigest()[:8]})"
