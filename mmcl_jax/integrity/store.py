"""Comparing a store with its checksums."""

from pathlib import Path

from mmcl_jax.data.format.format2 import SUMS
from mmcl_jax.data.format.format3 import MANIFEST, SEAL
from mmcl_jax.data.format.shards import is_shard
from mmcl_jax.files import CHECKSUMS, Recorded
from mmcl_jax.integrity.files import fault_group, leftovers, recorded_group, records_of
from mmcl_jax.integrity.result import Group

FLAT = "flat"
LOCK = "flat.lock"
SCRATCH = ".check.partial"  # the folder in which files are made again
_LEFTOVERS = ("flat.partial", "**/.*.partial", "*.array_record-*.*", "*/*.array_record-*.*")


def groups_of(directory: Path) -> tuple[Group, ...]:
    """Compare all files of a store with their checksums; nothing is written."""
    groups = []
    seal = directory / SEAL
    if seal.exists() or seal.is_symlink():
        sealed, broken = records_of(seal)
        groups.append(broken if sealed is None else recorded_group("store.json and manifest", directory, sealed))
    else:
        groups.append(Group(name="store.json and manifest", others=1 + (directory / MANIFEST).exists()))
    manifest, broken = records_of(directory / manifest_of(directory))
    groups += [broken] if manifest is None else _listed(directory, manifest)
    groups.append(_arrays(directory))
    return tuple(groups)


def left_over(directory: Path) -> tuple[Path, ...]:
    """Return what killed processes left in a store."""
    return leftovers(directory, _LEFTOVERS, [LOCK])


def manifest_of(directory: Path) -> str:
    """Return the name of the file of checksums, which is another in format 2."""
    return SUMS if (directory / SUMS).is_file() and not (directory / MANIFEST).exists() else MANIFEST


def _listed(directory: Path, manifest: dict[str, Recorded]) -> list[Group]:
    manifest.pop("request.sha256", None)  # in format 2; `prepare` removed the file
    shards = {name: one for name, one in manifest.items() if is_shard(name)}
    others = {name: one for name, one in manifest.items() if name not in shards and not name.startswith(f"{FLAT}/")}
    mapped = {name: one for name, one in manifest.items() if name.startswith(f"{FLAT}/")}  # in format 2
    return [
        recorded_group("description", directory, others),
        recorded_group("shards", directory, shards),
        *([recorded_group("recorded arrays", directory, mapped)] if mapped and (directory / FLAT).exists() else []),
    ]


def _arrays(directory: Path) -> Group:
    """Compare the mapped arrays."""
    folder, name = directory / FLAT, "mapped arrays"
    if not folder.exists() and not folder.is_symlink():
        return Group(name=name, note=f"the folder {FLAT} is not there; it is made again when it is needed")
    if not folder.is_dir():
        return fault_group(folder, f"{folder} is not a folder")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.npy")}
    if not (folder / CHECKSUMS).exists() and not (folder / CHECKSUMS).is_symlink():
        return Group(name=name, others=len(files))
    records, broken = records_of(folder / CHECKSUMS)
    if records is None:
        return broken
    group = recorded_group(name, folder, records, root=directory)
    return Group(name=name, compared=group.compared, others=len(files - records.keys()), faults=group.faults)
