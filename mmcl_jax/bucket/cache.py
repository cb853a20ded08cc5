"""The folder of this machine's copies of what lies in buckets, private to the user."""

import os
from pathlib import Path

from mmcl_jax.bucket.address import Address

VARIABLE = "MMCL_CACHE"


def folder() -> Path:
    """Return the folder, which is made with access for its owner alone: `MMCL_CACHE`, or `mmcl_jax` in the cache."""
    given = os.environ.get(VARIABLE)
    path = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmcl_jax"
    path = path.absolute()
    path.mkdir(parents=True, exist_ok=True)
    buckets = path / "buckets"
    buckets.mkdir(mode=0o700, exist_ok=True)
    return buckets


def place(kind: str, address: Address) -> Path:
    """Return the path of the copy of an address; `kind` keeps copies of several uses apart."""
    return folder() / kind / address.scheme / address.path


def kind_of(path: Path) -> str:
    """Return the kind of the copy that a path lies in, "" for a path that is no copy."""
    try:
        return path.absolute().relative_to(folder()).parts[0]
    except ValueError:
        return ""


def address_at(path: Path, kind: str) -> Address | None:
    """Return the address whose copy of this kind lies at a path, None for a path that is elsewhere."""
    try:
        scheme, bucket, *key = path.absolute().relative_to(folder() / kind).parts
    except ValueError:
        return None
    return Address(scheme, bucket, "/".join(key))
