"""Strict numerics, eight virtual devices, and the objects that many tests share."""

import gc
import importlib.metadata
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# For `benchmarks` and `tests`, at the end: the package is tested as it is installed, not as it lies here.
sys.path.append(str(Path(__file__).parent.parent))

# Compiled programs are shared between tests, and between runs on the same machine. Trusted code, so in the checkout.
# Test workers that run side by side have one each: JAX does not promise that entries are written in one piece.
_CACHE = Path(__file__).parent.parent / ".jax_cache" / os.environ.get("PYTEST_XDIST_WORKER", "")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(_CACHE)  # subprocesses take it from here

# Most of the time goes into compiling, so machine code need not be good: that halves it. What programs compute, and
# what they need and send, is decided before.
_FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# In JAX 0.10, the old code generator compiles a train step in two thirds of the time (ResNet-18 at 32 pixels: 21 s of
# processor time for 32 s). Later versions have only the new one, which takes 11 s; a flag they do not know ends them.
if importlib.metadata.version("jaxlib").startswith("0.10."):
    _FAST += " --xla_cpu_use_fusion_emitters=false"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FAST}".strip()

# With the compiler of TPUs installed, JAX looks for a TPU in every process, and complains on standard error.
if importlib.util.find_spec("libtpu"):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

# A shell that runs the suite in the background ignores Ctrl-C, and so would every process that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

import jax  # noqa: E402
import numpy as np  # noqa: E402
import polars as pl  # noqa: E402
import pytest  # noqa: E402
from PIL import Image  # noqa: E402

from mmcl_jax.compilation import compile_collectives_anew  # noqa: E402
from mmcl_jax.config import load  # noqa: E402
from mmcl_jax.data.store import Store  # noqa: E402
from mmcl_jax.datasets import digits  # noqa: E402
from mmcl_jax.prepare.make import prepare  # noqa: E402
from mmcl_jax.prepare.request import Request  # noqa: E402
from mmcl_jax.training import mesh  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_compilation_cache_dir", str(_CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
compile_collectives_anew()

# Where a test names no devices, one is used: a program without collectives compiles in half the time, and all files
# share it. Tests of what is divided name their devices, or have the fixture `eight_devices`.
_DEVICES = {name: getattr(mesh, name) for name in ("all_devices", "own_devices")}
for _name in _DEVICES:
    setattr(mesh, _name, lambda: jax.devices()[:1])


@pytest.fixture
def eight_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training and evaluation use all devices, as outside of the tests."""
    for name, function in _DEVICES.items():
        monkeypatch.setattr(mesh, name, function)


def pytest_collection_finish() -> None:
    """Modules and tests live to the end, so the garbage collector need not walk through them again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """A file's compiled programs are freed behind it: those of all files would fill the memory."""
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(scope="session")
def digits_raw(tmp_path_factory: pytest.TempPathFactory) -> Request:
    """The shipped digits, unpacked."""
    return digits.unpack(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="session")
def digits_store(digits_raw: Request, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The shipped digits, prepared."""
    return prepare(digits_raw, tmp_path_factory.mktemp("stores") / "digits")


@pytest.fixture
def tiny_config(digits_store: Store):
    """Makes a config small enough to train in a test: `tiny_config(name, *overrides)`."""

    def make(name: str = "digits_mmcl", *overrides: str):
        table = ["encoders.table.hidden=16", "encoders.table.features=8", "projectors.table.hidden=8"]
        return load(
            name,
            [
                f"data={digits_store.directory}",
                "batch_size=64",
                "epochs=1",
                "schedule.warmup_epochs=0",
                "batch_norm.group_size=8",
                "encoders.image.channels=(4, 8)",
                "projectors.image.hidden=8",
                "log_every=1",
                "checkpoint_every=1000",
                *(table if name == "digits_mmcl" else []),
                *overrides,
            ],
        )

    return make


@pytest.fixture
def raw(tmp_path: Path) -> Request:
    """A small table with mixed types and 40 colour images, as files."""
    return raw_of(tmp_path)


def raw_of(tmp_path: Path) -> Request:
    """Write such a table and images into a folder."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    names = [f"deep/{i}.jpg" if i % 2 else f"{i}.png" for i in range(40)]
    for name in names:
        Image.fromarray(rng.integers(0, 255, (12, 10, 3), np.uint8)).save(folder / name)
    table = pl.DataFrame(
        {
            "ad": [f"ad{i}" for i in range(40)],
            "file": names,
            "price": rng.normal(10_000, 3_000, 40),
            "seats": rng.integers(2, 8, 40),
            "gearbox": rng.choice(["manual", "automatic"], 40),
            "model": [f"m{i % 4}" for i in range(40)],
        }
    )
    table.write_csv(tmp_path / "ads.csv")
    return Request(
        table=tmp_path / "ads.csv",
        images=folder,
        image_column=("file",),
        label=("model",),
        key_column="ad",
        split=(0.5, 0.2, 0.3),
    )
