"""A store of format 2 becomes one of today's, without a picture being decoded or a shard being written again.

The new files have other names than the old ones, and `store.json`, which says the format, is replaced in one piece when
they are all written; the old files are removed after that. So the store can be opened at every moment, and a call that
was killed is finished by the next one. The shards and the array of pixels stay as they are.
"""

import json
import shutil
from pathlib import Path

import numpy as np

from mmcl_jax import __version__
from mmcl_jax.data.format import flat
from mmcl_jax.data.format.format2 import REPLACED, Format2
from mmcl_jax.data.format.format3 import ENTRIES, FORMAT, KEYS, MANIFEST
from mmcl_jax.data.format.lists import Lists
from mmcl_jax.data.format.writing import write_manifest
from mmcl_jax.data.store import Store
from mmcl_jax.errors import check
from mmcl_jax.files import atomic, sha256, write_text
from mmcl_jax.lock import locked


def upgrade_store(directory: Path, out: Path | None = None) -> bool:
    """Make a store one of today's format: in its folder, or as a copy in `out`.

    Runs that were trained on it accept it as before, since it keeps the fingerprint by which they know it.

    Returns:
      Whether it was of an older format; one of today's is left as it is, and not copied.

    Raises:
      UserError: it is no store, damaged, or `out` exists.
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
        _remove_old(directory, store.lists)  # of a call that was killed before it did
    return False


def _upgrade(store: Store, old: Format2) -> None:
    directory, lists = store.directory, old.lists
    old.files.check_all(without=("request.sha256",))  # which `prepare` removed: what is damaged gets no new checksum
    with locked(directory / "flat.lock", what=f"works on {directory / 'flat'}", wait=True):
        if old.has_values(["image"]):
            flat.write_places(directory, "image", old.image_at())
            every = np.arange(len(lists.id))
            for name in (name for name in store.schema.entries if name != "image"):
                np.save(directory / "flat" / f"{name}.npy", np.asarray(old.read([name], every, streamed=False)[name]))
                flat.write_places(directory, name, every)
        lists.write(directory)
        (directory / ENTRIES).write_text(store.schema.to_json())
        (directory / KEYS).write_text(json.dumps(old.keys()) + "\n")
        write_manifest(directory, without=(*REPLACED, MANIFEST, "flat.lock", "flat.partial"))
        before = {"format": store.made_by["format"], "version": store.made_by["version"]}
        upgraded = {**before, "fingerprint": store.fingerprint, "manifest": sha256(directory / MANIFEST)}
        said = {**store.made_by, "format": FORMAT, "version": __version__, "upgraded": upgraded}
        write_text(directory / "store.json", json.dumps(said, indent=2) + "\n")
        _remove_old(directory, lists)


def _remove_old(directory: Path, lists: Lists) -> None:
    """Remove the files of format 2 from a store of today's."""
    for name in REPLACED:
        (directory / name).unlink(missing_ok=True)
    for split in lists.splits:
        shutil.rmtree(directory / "flat" / split, ignore_errors=True)
