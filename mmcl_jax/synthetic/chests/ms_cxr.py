"""The phrases of drawn reports with the boxes that they describe, in the table of MS-CXR."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLUMNS = (
    "category_name", "label_text", "x", "y", "w", "h", "image_width", "image_height", "dicom_id", "path",
)  # fmt: skip


def phrase_rows(
    findings: Sequence[Mapping[str, Any]],
    sentences: Sequence[Mapping[str, Any]],
    splits: Mapping[str, str],
    size: int,
) -> Iterator[dict[str, Any]]:
    """Yield a row for every box of every sentence that names a finding as present, of persons outside of training.

    Args:
      findings: the rows of `truth/findings.csv`.
      sentences: the rows of `truth/sentences.csv`.
      splits: of every image, by `dicom_id`.
      size: height and width of an image in pixels.
    """
    texts = {(row["study_id"], row["sentence"]): row["text"] for row in sentences}
    for row in findings:
        image = row["dicom_id"]
        if row["mention"] != "present" or not row["present"] or splits[image] == "train":
            continue
        subject, study = row["subject_id"], row["study_id"]
        for index in row["sentences"].split():
            yield {
                "category_name": row["finding"].replace("_", " ").title(),
                "label_text": texts[study, int(index)],
                "x": row["x"],
                "y": row["y"],
                "w": row["width"],
                "h": row["height"],
                "image_width": size,
                "image_height": size,
                "dicom_id": image,
                "path": f"files/p{subject[:2]}/p{subject}/s{study}/{image}.jpg",
            }
