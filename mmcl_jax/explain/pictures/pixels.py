"""The attributions of all explained rows to the pixels of an image, as maps on it."""

from pathlib import Path

import numpy as np

from mmcl_jax.errors import check
from mmcl_jax.explain.attributed import Attributed, attributed, chosen_steps, notes_of, of_every_row
from mmcl_jax.explain.base import Result, Subject
from mmcl_jax.explain.outputs import Explained, paths
from mmcl_jax.explain.pictures.overlays import write_overlays
from mmcl_jax.explain.pictures.stored import is_turned
from mmcl_jax.explain.pictures.whole import write_maps
from mmcl_jax.explain.result import ATTRIBUTIONS
from mmcl_jax.files import reserve
from mmcl_jax.page.wording import counted, share
from mmcl_jax.progress import Bar

MAPS = "maps.npy"
_FIELDS = ("attributions", "change", "error")


def explained_pixels(subject: Subject, explained: Explained, folder: Path, *, title: str) -> Result:
    """Write the maps of all rows, the sums of rows and the pictures into the folder, and return the result.

    `maps.npy` has the attribution of every pixel, summed over channels, float32 `[N, H, W]` in the size of the view
    (`[N, D, H, W]` of a volume); a row without the image is NaN. `attributions.parquet` has its sum per row,
    `attribution`, in place of a list. The means over rows are written by `whole.write_maps`.

    Raises:
      UserError: the rows have several images.
    """
    options, whole, subject = subject.options, subject, subject.having()
    check(
        subject.source.run.schema.entries[subject.spec.of].pictures == 1,
        f"--input {subject.input}: its rows have several images; rows with one image are explained.",
    )
    (steps, reached), embedded = chosen_steps(subject, explained), explained.embedded
    shape = (len(whole.rows), *embedded.space)
    file = np.lib.format.open_memmap(folder / MAPS, mode="w+", dtype=np.float32, shape=shape)
    reserve(folder / MAPS)
    file[~whole.present] = np.nan
    at = np.flatnonzero(whole.present)
    sums, total, image = list[np.ndarray](), list[Attributed](), np.zeros(embedded.layout.shapes[0])
    absolute, signed = np.zeros(embedded.space), np.zeros(embedded.space)
    shown: list[dict[str, np.ndarray]] = []
    with Bar(f"{title}, {steps} steps: rows", len(subject.rows)) as bar:
        for block, path in paths(subject, explained, options.baseline):
            count = block.stop - block.start
            part = attributed(
                [(slice(0, count), path)],
                embedded.columns,
                embedded.width,
                steps,
                noise=explained.noise,
                ids=subject.rows[block],
                bar=bar,
            )
            maps = part.attributions.reshape(count, *embedded.space)
            views = np.asarray(path.rows[:count]).reshape(count, *embedded.layout.shapes[0])
            file[at[block]] = maps
            absolute += np.abs(maps).sum(axis=0, dtype=np.float64)
            signed += maps.sum(axis=0, dtype=np.float64)
            image += views.sum(axis=0, dtype=np.float64)
            sums.append(np.abs(part.attributions).sum(axis=1, dtype=np.float64))
            total.append(Attributed(part.attributions.sum(axis=1, keepdims=True), part.change, part.error))
            few = range(min(count, options.top - len(shown)))
            shown.extend({"view": views[index], "maps": np.abs(maps[index])} for index in few)
    file.flush()
    rows = Attributed(*(np.concatenate([getattr(one, name) for one in total]) for name in _FIELDS))
    frame = {"key": list(subject.keys), "attribution": rows.attributions[:, 0], "change": rows.change}
    of_every_row(whole, {**frame, "error": rows.error}).write_parquet(folder / ATTRIBUTIONS)
    summed = float(np.concatenate(sums).mean())
    modality = {"summed": summed, "mean": summed / embedded.width}
    words = f"{title} of {explained.of}"
    titles = [f"{words}, row {key}" for key in subject.keys[: len(shown)]]
    count = len(subject.rows)
    means = {"absolute": absolute[None] / count, "signed": signed[None] / count}
    written = write_maps(subject, folder, means, image / count, (explained.of,), title=f"{words}, absolute values")
    notes = [f"With {steps} steps, attributions leave {share(rows.relative, 1)} of the change of the outputs."]
    if reached is False:
        notes.append(f"The tolerance is {share(options.tolerance, 1)}; raise --max-steps.")
    return Result(
        of=explained.of,
        settings={"baseline": options.baseline, "steps": steps, **explained.settings},
        columns=written.columns,
        pictures=[*written.pictures, *write_overlays(folder, shown, titles, upwards=is_turned(subject))],
        details={
            **written.details,
            "completeness": {
                "error": rows.relative,
                "worst_row": rows.worst,
                "tolerance": options.tolerance,
                "reached": reached,
            },
            "signed": True,
            "absent": int((~whole.present).sum()),
            "modality": modality,
            "files": [MAPS, *written.details["files"]],
        },
        notes=[
            *notes,
            *notes_of(whole, modality),
            *written.notes,
            f"Pictures show absolute values; {MAPS} has the signed maps of {counted(len(whole.rows), 'row')}.",
        ],
    )
