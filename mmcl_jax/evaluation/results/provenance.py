"""The command, software and machine that results were made with, for every results file."""

import os
import platform
from typing import Any

import jax

from mmcl_jax import __version__
from mmcl_jax.versions import versions


def provenance(command: str) -> dict[str, Any]:
    """Return the command, the versions of the software and the machine as JSON values."""
    return {
        "command": command,
        "mmcl_jax": __version__,
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "versions": versions(),
    }
