"""MS-CXR: phrases of MIMIC-CXR's reports with the boxes that they describe.

root/MS_CXR_Local_Alignment_v1.0.0.csv     category_name, label_text, path, x, y, w, h, dicom_id
     (or .json, with the same in COCO's layout)
mimic/files/pNN/pSUBJECT/sSTUDY/DICOM.jpg
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypedDict

import polars as pl

from mmcl_jax.border import read_json, typed
from mmcl_jax.data.table.declaration import Declaration, Declared
from mmcl_jax.datasets.chest.downstream import CORNERS, SIZE, SPLIT
from mmcl_jax.datasets.chest.mimic import RESTRICTION
from mmcl_jax.datasets.chest.tables import number, read_csv
from mmcl_jax.errors import check
from mmcl_jax.page.wording import counted
from mmcl_jax.prepare.recipe import Recipe, Step
from mmcl_jax.prepare.sources import Source

_NAME = "MS_CXR_Local_Alignment_v*"
_COLUMNS = ("category_name", "label_text", "path", "x", "y", "w", "h")
_REMEDY = "download the file again"


class _Box(NamedTuple):
    where: str
    category: str
    phrase: str
    path: str
    left: float
    top: float
    width: float
    height: float


class _Image(TypedDict):
    id: int
    path: str


class _Annotation(TypedDict):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    label_text: str


class _Category(TypedDict):
    id: int
    name: str


def ms_cxr(
    *,
    root: Path,
    mimic: Path | None = None,
    vocabulary: Path | None = None,
    vocabulary_size: int = 8000,
    show_text: bool = False,
    pad: bool = True,
) -> Recipe:
    """Return MS-CXR: a phrase, `report`, with its image and its boxes, `lesions`, per row.

    A phrase of an image is a row, whatever the number of its boxes; images of several phrases are in several rows. The
    class of a box, and the label `finding`, is its category. `group` is the subject. 60/20/20 % of subjects are drawn.

    Args:
      root: the folder of the table.
      mimic: the folder with MIMIC-CXR-JPG's `files/`; by default `root`, or `mimic-cxr-jpg_2-0-0` in it.
      vocabulary: the tokenizer.report.json of the store that encoders of phrases were trained on, or a vocabulary.
      vocabulary_size: the largest size of a fitted vocabulary of word pieces.
      show_text: whether pages may show phrases.
      pad: whether images are padded to a square with black; if not, `--aspect` says how they are made to fit.

    Raises:
      UserError: a file is missing, or a row or annotation is wrong.
    """
    path = next((file for end in (".csv", ".json") for file in sorted(root.glob(f"{_NAME}{end}"), reverse=True)), None)
    if path is None:
        check(False, f"--root: {root} has no file {_NAME}.csv or .json.")
    assert path is not None
    folder = mimic or next((one for one in (root / "mimic-cxr-jpg_2-0-0", root) if (one / "files").is_dir()), root)
    check((folder / "files").is_dir(), f"--dataset.mimic: {folder} has no folder files; name that of MIMIC-CXR-JPG.")
    rows: dict[tuple[str, str, str], list[_Box]] = {}
    seen: dict[_Box, str] = {}
    for box in _of_json(path) if path.suffix == ".json" else _of_csv(path):
        parts = PurePosixPath(box.path).parts
        inside = len(parts) == 5 and parts[0] == "files" and ".." not in parts
        check(inside, f"{box.where}: path is {box.path!r}, not like files/p10/p10000032/s50414267/ID.jpg.")
        check(box.phrase != "", f"{box.where}: label_text is empty.")
        twin = seen.setdefault(box._replace(where=""), box.where)
        check(twin == box.where, f"{box.where}: the box is the same as that of {twin}; keep one.")
        rows.setdefault((box.path, box.phrase, box.category), []).append(box)
    check(bool(rows), f"{path} has no phrase.")
    counts: dict[str, int] = {}
    keys, boxes = [], []
    for (file, _, _), found in rows.items():
        image = PurePosixPath(file).stem
        counts[image] = counts.get(image, 0) + 1
        keys.append(f"{image}-{counts[image]}")
        boxes += [
            (keys[-1], box.left, box.top, box.left + box.width, box.top + box.height, box.category) for box in found
        ]
    categories = sorted({category for _, _, category in rows})
    table = pl.DataFrame(
        {
            "phrase": keys,
            "file": [file for file, _, _ in rows],
            "subject": [PurePosixPath(file).parts[2].removeprefix("p") for file, _, _ in rows],
            "finding": [category for _, _, category in rows],
        }
    )
    texts, corners = Path(f"phrases of {path}"), Path(f"boxes of {path}")
    return Recipe(
        name="ms_cxr",
        rows=table,
        images=folder,
        image_columns=("file",),
        image_size=SIZE,
        declaration=Declaration(
            columns={
                "phrase": Declared(role="identifier", verbatim=True),
                "file": Declared(role="image"),
                "subject": Declared(role="group", verbatim=True),
                "finding": Declared(role="label", kind="categorical", categories=tuple(categories)),
            },
            others="ignore",
        ),
        entries={
            "report": Source(
                kind="text", file=texts, key="phrase", column=("text",), vocabulary=vocabulary,
                tokenizer="byte_pairs" if vocabulary else "word_pieces", vocabulary_size=vocabulary_size,
                show_text=show_text,
            )
        },
        targets={
            "lesions": Source(
                kind="boxes", of="image", file=corners, key="phrase", column=CORNERS, categories=tuple(categories)
            )
        },
        tables={
            texts: pl.DataFrame({"phrase": keys, "text": [phrase for _, phrase, _ in rows]}),
            corners: pl.DataFrame(boxes, schema=("phrase", *CORNERS), orient="row"),
        },
        required=("image", "report"),
        steps=(Step(f"phrases of {counted(len(counts), 'image')}, with {len(boxes)} boxes", len(keys), len(keys)),),
        fields={"split": SPLIT, "duplicates": "keep", **({"aspect": "pad"} if pad else {})},
        restriction=RESTRICTION,
    )  # fmt: skip


def _of_csv(path: Path) -> Iterator[_Box]:
    """Yield the boxes of a table. Raises `UserError` for a cell that is no number."""
    for row, cells in enumerate(read_csv(path, _COLUMNS).iter_rows(named=True), start=1):
        where = f"{path}, row {row}"
        sides = [number(cells[name], where, name) for name in ("x", "y", "w", "h")]
        yield _Box(where, cells["category_name"], cells["label_text"], cells["path"], *sides)


def _of_json(path: Path) -> Iterator[_Box]:
    """Yield the boxes of annotations in COCO's layout. Raises `UserError` for a file of another layout."""
    raw = read_json(path, dict[str, Any], _REMEDY)
    parts: dict[str, Any] = {"images": _Image, "annotations": _Annotation, "categories": _Category}
    found: dict[str, list[Any]] = {}
    for name, kind in parts.items():
        check(name in raw, f"{path} has no {name}; {_REMEDY}.")
        found[name] = []
        for index, one in enumerate(typed(list[dict[str, Any]], raw[name], f"{path}: {name}")):
            known = {key: one[key] for key in kind.__annotations__ if key in one}
            found[name].append(typed(kind, known, f"{path}: {name}[{index}]", _REMEDY))
    images = {image["id"]: image["path"] for image in found["images"]}
    categories = {category["id"]: category["name"] for category in found["categories"]}
    for index, one in enumerate(found["annotations"]):
        where = f"{path}: annotations[{index}]"
        check(one["image_id"] in images, f"{where}: there is no image {one['image_id']}.")
        check(one["category_id"] in categories, f"{where}: there is no category {one['category_id']}.")
        yield _Box(
            where, categories[one["category_id"]], one["label_text"].strip(), images[one["image_id"]], *one["bbox"]
        )
