"""The upgrade of a store of format 2 to the current format, which decodes no image and writes no shard again.

The new files have other names than the old ones. When all are written, `store.json`, which holds the format, is
replaced in one step, and only then are the old files removed. So the store can be opened at any moment, and the next
call completes one that was killed. The shards and the array of pixels stay as they are.
"""

import shutil
from pathlib import Path

import numpy as np

from mmcl_jax import __version__
from mmcl_jax.border import to_json
from mmcl_jax.data.format import flat, flat_sums
from mmcl_jax.data.format.format2 import REPLACED, Format2
from mmcl_jax.data.format.format3 import ENTRIES, FORMAT, KEYS, MANIFEST, SEAL
from mmcl_jax.data.format.lists import Lists
from mmcl_jax.data.format.writing import write_manifest, write_seal, write_store_json
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.files import atomic, sha256
from mmcl_jax.lock import is_held, locked


def upgrade_store(directory: Path, out: Path | None = None) -> bool:
    """Upgrade a store to the current format, in its folder or as a copy in `out`.

    The store keeps its fingerprint, so runs that were trained on it accept the upgraded one.

    Returns:
      Whether the store had an older format. A store of the current format is neither changed nor copied.

    Raises:
      UserError: the folder is not a store, is damaged, or `out` exists.
    """
    store = Store.open(directory)
    if isinstance(store.layout, Format2):
        check(out is None or not out.exists(), f"{out} exists already; choose another --out, or remove it first.")
        if out is None:
            _upgrade(store, store.layout)
        else:
            with atomic(out) as partial:
                shutil.copytree(directory, partial)
                upgrade_store(partial)
        return True
    if out is None:
        _complete(store)
    return False


def _complete(store: Store) -> None:
    """Do what a call that was killed behind the replacement of `store.json` has left."""
    directory, lock = store.directory, store.directory / "flat.lock"
    unsealed = "upgraded" in store.made_by and not (directory / SEAL).exists()
    if unsealed or (lock.exists() and not is_held(lock)):
        with locked(lock, what=f"works on {directory / 'flat'}", wait=True):
            if unsealed:
                write_seal(directory)
    _remove_old(directory, store.lists)


def _upgrade(store: Store, old: Format2) -> None:
    directory, lists = store.directory, old.lists
    old.files.check_all(without=("request.sha256",))  # no damaged file gets a new checksum; `prepare` removed this one
    with locked(directory / "flat.lock", what=f"works on {directory / 'flat'}", wait=True):
        if old.has_values(["image"]):
            flat.write_at(directory, "image", old.image_at())
            all_rows = np.arange(len(lists.id))
            for name in (name for name in store.schema.entries if name != "image"):
                values = old.read([name], all_rows, streamed=False)[name]
                np.save(directory / "flat" / f"{name}.npy", np.asarray(values))
                flat.write_at(directory, name, all_rows)
        lists.write(directory)
        (directory / ENTRIES).write_text(store.schema.to_json())
        (directory / KEYS).write_text(to_json(old.keys()) + "\n")
        write_manifest(directory, without=(*REPLACED, MANIFEST, "flat.lock", "flat.partial"))
        before = {"format": store.made_by["format"], "version": store.made_by["version"]}
        upgraded = {**before, "fingerprint": store.fingerprint, "manifest": sha256(directory / MANIFEST)}
        if (directory / "flat").is_dir():
            flat_sums.write(directory / "flat")
        made_by = {**store.made_by, "format": FORMAT, "version": __version__, "upgraded": upgraded}
        write_store_json(directory, made_by)
        _remove_old(directory, lists)


def _remove_old(directory: Path, lists: Lists) -> None:
    """Remove the files of format 2 from a store of the current format."""
    for name in REPLACED:
        (directory / name).unlink(missing_ok=True)
    for split in lists.splits:
        shutil.rmtree(directory / "flat" / split, ignore_errors=True)
