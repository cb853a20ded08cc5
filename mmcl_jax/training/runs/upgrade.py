"""The upgrade of a run of an earlier version: current keys in its config and schema, all else unchanged."""

from pathlib import Path
from typing import Any

from mmcl_jax.border import read_written, to_json
from mmcl_jax.data.schema import Schema
from mmcl_jax.files import CHECKSUMS, write_checksums, write_text
from mmcl_jax.lock import locked
from mmcl_jax.training.runs.config_file import read_plain
from mmcl_jax.training.runs.renamed import translated
from mmcl_jax.training.runs.run import Run

_DESCRIPTION = (
    "config.json",
    "store.json",
    "schema.json",
    "statistics.json",
    "declaration.json",
    "encoding.json",
    "imputer.npz",
    "seen.npz",
)


def upgrade_run(directory: Path) -> bool:
    """Rewrite `config.json` with current keys and `schema.json` as named entries; return whether a file changed.

    Runs also read the old form of both files, so a call that is killed leaves a run that works, and the next call
    completes the upgrade. Checkpoints, metrics and fitted inputs stay unchanged.

    Raises:
      UserError: the directory is not a run, is damaged, or is being trained.
    """
    Run.open(directory)
    with locked(directory / "lock.json", what=f"trains in {directory}"):
        texts = {name: (directory / name).read_text() for name in ("config.json", "schema.json")}
        config = read_plain(directory)
        current = {"schema.json": Schema.from_json(texts["schema.json"]).to_json()}
        if translated(config) != config:
            current["config.json"] = to_json(translated(config), indent=2) + "\n"
        changed = [name for name, text in current.items() if text != texts[name]]
        sums = directory / CHECKSUMS
        if not changed and sums.is_file():
            return False
        names = read_written(sums, dict[str, Any], "put a copy of it back") if sums.is_file() else _DESCRIPTION
        sums.unlink(missing_ok=True)  # a run without checksums counts as intact, so a kill does no harm
        for name in changed:
            write_text(directory / name, current[name])
        write_checksums(directory, [path for name in names if (path := directory / name).is_file()])
    return True
