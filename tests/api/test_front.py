"""`import mmcl_jax as mj`: quick, without a backend, and with the names that are promised."""

import inspect
import json
import subprocess
import sys

import pytest

import mmcl_jax as mj
from mmcl_jax.cli.main import COMMANDS, function_of

CODE = """
import time
began = time.process_time()  # other tests run beside this one
import mmcl_jax as mj
seconds = time.process_time() - began
loaded = sorted({"jax", "flax", "polars", "numpy", "sklearn"} & set(__import__("sys").modules))
mj.objectives, mj.encoders, mj.views, mj.pairs.contrast, mj.prepare
from jax._src import xla_bridge
import json
print(json.dumps({"seconds": seconds, "loaded": loaded, "backends": list(xla_bridge._backends)}))
"""


def test_the_import_is_quick_and_starts_no_backend() -> None:
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout)
    assert found["seconds"] < 0.3
    assert found["loaded"] == []
    assert found["backends"] == []


@pytest.mark.parametrize("name", [*map(function_of, COMMANDS), "fit"])
def test_commands_are_functions_though_folders_have_their_names(name: str) -> None:
    import mmcl_jax.prepare.make
    import mmcl_jax.reproduce.run  # noqa: F401 - Python sets folders that are imported as attributes

    function = getattr(mj, name)
    assert inspect.isfunction(function)
    assert name in dir(mj)
    assert (function.__doc__ or "").count("Args:") == 1


def test_names() -> None:
    assert all(getattr(mj, name) is not None for name in mj.__all__)
    assert mj.pairs.contrast.__module__.startswith("mmcl_jax.objectives.pairs")
    with pytest.raises(AttributeError, match="no attribute 'prepared'"):
        mj.prepared  # noqa: B018
