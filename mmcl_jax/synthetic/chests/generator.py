"""Generating radiographs of chests with reports in the layout of MIMIC-CXR, and downstream data of other persons."""

from pathlib import Path

from mmcl_jax.errors import check
from mmcl_jax.prepare.images.medical import extra
from mmcl_jax.synthetic.chests.downstream import write_downstream
from mmcl_jax.synthetic.chests.mimic import write_mimic

LEAST = 24  # studies, so that each split has a person
STORED = 56  # pixels: a ResNet without the first strides has a grid of 7 x 7


def generate_chest(
    root: Path,
    *,
    count: int = 2000,
    size: int = 128,
    missing: float = 0.03,
    rsna: int = 0,
    siim: int = 0,
    covid_rural: int = 0,
    seed: int = 0,
    workers: int = 1,
) -> tuple[str, ...]:
    """Write drawn radiographs of chests with reports in the layout of MIMIC-CXR, and the truth about them.

    `mimic/` has the images, the tables and the reports. Persons differ in anatomy, by sex and age, and have one to four
    studies with one or two frontal images, some with a lateral one. Findings (cardiomegaly, edema, consolidation,
    atelectasis, pleural effusion, pneumothorax, nodule) come together as in patients, and change from study to study.
    A report has sentences in varied wording and order about findings, changes, what is excluded or uncertain, devices,
    normal structures and lateral views; it may leave a finding out or suspect one that is not there. The labels are
    those that the report supports, so a finding may be positive, negative, uncertain or blank.

    `truth/findings.csv` has the box of every finding in every frontal image, and which sentences of the report
    (findings, then impression, from 0) name it; `truth/sentences.csv` has what each sentence says, and
    `truth/images.csv` the devices. A table in the columns of MS-CXR, in `mimic/`, has the sentences of persons outside
    of training that name a finding, with its boxes. `rsna/`, `siim/` and `covid_rural/` are downstream data sets of
    other persons.

    A person depends only on the seed and its number, whatever the number of processes.

    Args:
      root: the folder to write to.
      count: number of studies.
      size: height and width of a radiograph in pixels.
      missing: share of studies whose report has neither findings nor impression.
      rsna: number of images in the layout of RSNA's pneumonia detection, with boxes; 0 for no such tree.
      siim: number of images in the layout of SIIM's pneumothorax segmentation, with run lengths.
      covid_rural: number of images in the layout of COVID Rural, with masks.
      seed: the seed of all random numbers.
      workers: number of processes that draw.

    Returns:
      The option of `mmcl prepare` that suits drawn chests: the size of the stored images.

    Raises:
      UserError: an option is out of range, or pydicom is not installed, which RSNA and SIIM need.
    """
    trees = {"rsna": rsna, "siim": siim, "covid_rural": covid_rural}
    ranges = {
        "count": (count, LEAST, 1_000_000),
        "size": (size, 32, 4096),
        "missing": (missing, 0, 0.9),
        **{name: (images, 0, 1_000_000) for name, images in trees.items()},
        "seed": (seed, 0, 2**32 - 1),
        "workers": (workers, 1, 1024),
    }
    for name, (value, low, high) in ranges.items():
        check(low <= value <= high, f"--dataset.{name}={value} is not between {low:,} and {high:,}.")
    if rsna or siim:
        extra("pydicom")
    root.mkdir(parents=True, exist_ok=True)
    write_mimic(root / "mimic", root / "truth", studies=count, size=size, missing=missing, seed=seed, workers=workers)
    for name, images in trees.items():
        if images:
            write_downstream(root / name, name, images=images, size=size, seed=seed, workers=workers)
    return (f"--image-size {STORED}",)
