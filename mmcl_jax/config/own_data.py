"""What `:own` configs are chosen from: the training rows of a store, and the devices that train."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np
from ml_collections import ConfigDict

from mmcl_jax.data.input import is_streamed
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check

Device = Literal["cpu", "gpu", "tpu"]
_LOOKED_AT = 256  # pictures that are compared with their mirror images


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnData:
    """A store and the devices. A run keeps it in its config under `own`, so that a later sitting chooses the same.

    Attributes:
      rows: training rows.
      height: of a stored picture, in pixels.
      width: of a stored picture, in pixels.
      channels: of a picture.
      columns: of the table.
      incomplete: columns that lack a value in some training row, with the class label, which may become a column.
      one_sided: share of the difference between pictures and their mirror images that all pictures have in common, see
        `one_sided`.
      device: kind of the devices.
      devices: number of the devices, of all processes.
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
        """Check the values, which an override may have set. Raises `UserError` naming the key."""
        least = {"rows": 2, "height": 1, "width": 1, "channels": 1, "columns": 0, "incomplete": 0, "devices": 1}
        for name, low in least.items():
            value = getattr(self, name)
            check(
                isinstance(value, int) and value >= low, f"config.own.{name}: {value!r} is no whole number from {low}."
            )
        devices = get_args(Device)
        check(self.device in devices, f"config.own.device: {self.device!r} is not one of {', '.join(devices)}.")
        check(isinstance(self.one_sided, int | float), f"config.own.one_sided: {self.one_sided!r} is no number.")

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
    def kept(cls, run: Path) -> "OwnData | None":
        """Return the description that a run was begun with; None without such a run or such a description."""
        path = run / "config.json"
        described = json.loads(path.read_text()).get("own") if path.is_file() else None
        return None if described is None else cls(**described)

    def to_config(self) -> ConfigDict:
        """Return the fields as a section of a config."""
        return ConfigDict(dataclasses.asdict(self))


def this_device() -> Device:
    """Return the kind of the devices that JAX sees."""
    return jax.default_backend()  # type: ignore[return-value]


@functools.lru_cache(maxsize=4)
def _measured(directory: Path, fingerprint: str) -> dict[str, Any]:
    """Measure what takes a pass over a store's rows, once for the many configs of a table."""
    del fingerprint  # a store that was made anew in the same folder is read again
    store = Store.open(directory)
    arrays = store.arrays("train", streamed=is_streamed("auto", store))
    unlabelled = "label" in arrays and bool((np.asarray(arrays["label"]) < 0).any())
    return {
        "incomplete": int(np.isnan(arrays["table"]).any(axis=0).sum()) + unlabelled,
        "one_sided": round(one_sided(arrays["image"]), 4),
    }


def one_sided(images: Any) -> float:
    """Return how alike the differences d_i between pictures and their mirror images are.

    |mean_i d_i|^2 / mean_i |d_i|^2, less what chance adds to it: 0 if a picture and its mirror image are equally likely
    (or equal), 1 if all pictures differ from their mirror images in the same way. Of photos that show things from
    either side it is near 0; of scans, letters and shoes that all point to the left it is not.

    Args:
      images: pictures `[N, H, W, C]` or `[N, V, H, W, C]`, of which up to 256 are read, with at most 64 x 64 pixels.
    """
    count = min(len(images), _LOOKED_AT)
    if count < 2:
        return 0.0
    total: Any = 0.0
    squares = 0.0
    for row in np.linspace(0, len(images) - 1, count).astype(int):
        picture = np.asarray(images[row], np.float64)
        down, right = (-(-side // 64) for side in picture.shape[-3:-1])
        mirrored = picture[..., ::-1, :]
        difference = (picture - mirrored)[..., ::down, ::right, :]
        total, squares = total + difference, squares + np.square(difference).sum()
    if squares == 0:
        return 0.0
    share = np.square(total / count).sum() / (squares / count)
    return float(max(0.0, (count * share - 1) / (count - 1)))
