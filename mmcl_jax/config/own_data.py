"""The description of a store and its devices that an `:own` config is chosen from."""

import dataclasses
import functools
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict, get_args

import jax
import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.border import Open, read_written
from mmcl_jax.data.input import is_streamed
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check

Device = Literal["cpu", "gpu", "tpu"]
_SAMPLE = 256  # images that are compared with their mirror images


class _Config(TypedDict, total=False):
    own: "OwnData | None"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnData:
    """The description of a store and the devices. A run stores it in its config as `own`, and so resumes with it.

    Attributes:
      rows: number of training rows.
      height: height of a stored image, in pixels.
      width: width of a stored image, in pixels.
      channels: number of channels of an image.
      columns: number of columns of the table.
      incomplete: number of columns with a missing value in the training rows; the class label, which may become a
        column, counts too.
      one_sided: share of the difference between images and their mirror images that all images have in common, see the
        function `one_sided`.
      device: kind of the devices.
      devices: number of devices over all processes.
    """

    rows: int
    height: int
    width: int
    channels: int
    columns: int
    incomplete: int
    one_sided: float
    device: Device
    devices: int

    def __post_init__(self) -> None:
        """Raise `UserError` naming the key if a value, which an override may have set, is invalid."""
        least = {"rows": 2, "height": 1, "width": 1, "channels": 1, "columns": 0, "incomplete": 0, "devices": 1}
        for name, low in least.items():
            value = getattr(self, name)
            check(
                isinstance(value, int) and value >= low,
                f"config.own.{name}: {value!r} is not a whole number of at least {low}.",
            )
        devices = get_args(Device)
        check(self.device in devices, f"config.own.device: {self.device!r} is not one of {', '.join(devices)}.")
        check(isinstance(self.one_sided, int | float), f"config.own.one_sided: {self.one_sided!r} is not a number.")

    @classmethod
    def of(cls, store: Store) -> "OwnData":
        """Describe the training split of a store, and the devices that JAX sees.

        Raises:
          UserError: the split has fewer than two rows.
        """
        rows = store.sizes["train"]
        check(rows >= 2, f"The training split of {store.directory} has {rows} row; pretraining needs two or more.")
        measured = _measured(store.directory, store.fingerprint)
        height, width, channels = store.schema.image.shape
        return cls(
            rows=rows,
            height=height,
            width=width,
            channels=channels,
            columns=len(store.schema.columns),
            **measured,
            device=this_device(),
            devices=jax.device_count(),
        )

    @classmethod
    def of_run(cls, run: Path) -> "OwnData | None":
        """Return the description in the config of a run; None if there is no such run, or it has no description."""
        path = run / "config.json"
        if not path.is_file():
            return None
        remedy = "put a copy of it back, or train anew in another --workdir"
        config: _Config = read_written(path, Annotated[_Config, Open], remedy)
        return config.get("own")

    def to_config(self) -> ConfigDict:
        """Return the fields as the section `own` of a config."""
        return ConfigDict(dataclasses.asdict(self))


def this_device() -> Device:
    """Return the kind of the devices that JAX sees."""
    return jax.default_backend()  # type: ignore[return-value]


@functools.lru_cache(maxsize=4)
def _measured(directory: Path, fingerprint: str) -> dict[str, Any]:
    """Return the fields that need a pass over the rows; cached, since many configs may be chosen for one store."""
    del fingerprint  # part of the cache key: a new store in the same folder is measured again
    store = Store.open(directory)
    arrays = store.arrays("train", streamed=is_streamed("auto", store))
    unlabelled = "label" in arrays and bool((np.asarray(arrays["label"]) < 0).any())
    return {
        "incomplete": int(np.isnan(arrays["table"]).any(axis=0).sum()) + unlabelled,
        "one_sided": round(one_sided(arrays["image"]), 4),
    }


def one_sided(images: Any) -> float:
    """Return how similar the differences d_i between images and their mirror images are.

    This is |mean_i d_i|^2 / mean_i |d_i|^2, corrected for its expectation under chance: 0 if an image and its mirror
    image are equally likely (or equal), 1 if all images differ from their mirror images in the same way. Photos that
    show things from either side have values near 0; scans, letters, and shoes that all point to the left do not.

    Args:
      images: `[N, H, W, C]` or `[N, V, H, W, C]`; up to 256 images are read, subsampled to at most 64 x 64 pixels.
    """
    count = min(len(images), _SAMPLE)
    if count < 2:
        return 0.0
    total: Any = 0.0
    squares = 0.0
    for row in np.linspace(0, len(images) - 1, count).astype(int):
        image = np.asarray(images[row], np.float64)
        row_stride, column_stride = (-(-side // 64) for side in image.shape[-3:-1])
        mirrored = image[..., ::-1, :]
        difference = (image - mirrored)[..., ::row_stride, ::column_stride, :]
        total, squares = total + difference, squares + np.square(difference).sum()
    if squares == 0:
        return 0.0
    share = np.square(total / count).sum() / (squares / count)
    return float(max(0.0, (count * share - 1) / (count - 1)))
