"""Drawn trees of files in the layouts of APTOS, RFMiD and PALM: other cameras, other people, and no genetics."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from mmcl_jax.synthetic.eyes.anatomy import TRAITS, Camera, Eye, exudates, haemorrhages, of_traits
from mmcl_jax.synthetic.eyes.draw import photograph
from mmcl_jax.synthetic.eyes.files import write_table
from mmcl_jax.synthetic.eyes.findings import FINDINGS, draw_findings

GRADES = (0.49, 0.1, 0.27, 0.06, 0.08)  # share of each grade of diabetic retinopathy in APTOS
_BLOTS, _SPOTS = (0.0, 2.5, 7.0, 18.0, 30.0), (0.0, 0.2, 4.0, 9.0, 16.0)  # mean number by grade
_SETS = (("Training", "Training", 0.6), ("Evaluation", "Validation", 0.2), ("Test", "Test", 0.2))
_LABELS = {"Training": "Training", "Evaluation": "Validation", "Test": "Testing"}


def write_aptos(root: Path, images: int, height: int, seed: int) -> None:
    """Write `train.csv` and `train_images/ID.png`: eyes with a grade of diabetic retinopathy from 0 to 4.

    The field of view of every sixth photograph is cut off above and below, so that no whole circle is seen.
    """
    folder = root / "train_images"
    folder.mkdir(parents=True)
    rows = []
    for number in range(images):
        random = np.random.default_rng((seed, 20, number))
        grade = int(random.choice(len(GRADES), p=GRADES))
        eye = _someone(random, darker=0.9)
        marks = (haemorrhages(int(random.poisson(_BLOTS[grade]))), exudates(int(random.poisson(_SPOTS[grade]))))
        camera = Camera(
            width=1.5, radius=0.56 if number % 6 == 5 else 0.48, colour=(0.88, 0.98, 0.9), gamma=1.15, noise=0.02
        )
        code = f"{random.integers(16**12):012x}"
        picture = photograph(dataclasses.replace(eye, marks=marks), camera, height, random)
        Image.fromarray(picture.pixels).save(folder / f"{code}.png")
        rows.append({"id_code": code, "diagnosis": grade})
    write_table(root / "train.csv", rows)


def write_rfmid(root: Path, images: int, height: int, seed: int) -> None:
    """Write `X_Set/X_Set/` with images and labels for training, evaluation and test: eyes with 45 findings."""
    number = 0
    for name, folder, share in _SETS:
        base = root / f"{name}_Set" / f"{name}_Set"
        (base / folder).mkdir(parents=True)
        rows = []
        for index in range(1, max(2, round(share * images)) + 1):
            random = np.random.default_rng((seed, 21, number))
            number += 1
            eye, found = _someone(random, darker=1.2), draw_findings(random)
            for finding in found:
                eye = FINDINGS[finding].change(eye)
            camera = Camera(width=1.5, radius=0.485, colour=(1.06, 0.9, 0.8), gamma=0.92, sharpness=0.009)
            Image.fromarray(photograph(eye, camera, height, random).pixels).save(base / folder / f"{index}.png")
            row = {"ID": index, "Disease_Risk": int(bool(found))}
            rows.append({**row, **{finding: int(finding in found) for finding in FINDINGS}})
        write_table(base / f"RFMiD_{_LABELS[name]}_Labels.csv", rows)


def write_palm(root: Path, images: int, height: int, seed: int) -> None:
    """Write `PALM-Training400/ID.jpg` and the masks of the disc and of the atrophy around it, black on white.

    An ID begins with H, N or P: high myopia, a normal eye, pathological myopia. Eyes without atrophy have no mask of
    it.
    """
    discs, atrophies, pictures = root / "Disc_Masks", root / "Lesion_Masks" / "Atrophy", root / "PALM-Training400"
    for folder in (discs, atrophies, pictures):
        folder.mkdir(parents=True)
    counts = {"H": 0, "N": 0, "P": 0}
    for number in range(images):
        random = np.random.default_rng((seed, 22, number))
        group = "H" if number % 5 == 3 else "N" if random.random() < 0.43 else "P"
        counts[group] += 1
        eye = _someone(random, darker=0.6)
        if group != "N":
            atrophy = random.uniform(1.15, 1.6) if group == "H" else random.uniform(1.5, 3.2)
            eye = dataclasses.replace(
                eye, atrophy=float(atrophy), tessellation=0.8, disc=eye.disc * float(random.uniform(1, 1.35))
            )
        camera = Camera(width=1.033, radius=0.485, colour=(0.96, 0.86, 0.92), gamma=1.05)
        picture = photograph(eye, camera, height, random)
        name = f"{group}{counts[group]:04d}"
        Image.fromarray(picture.pixels).save(pictures / f"{name}.jpg", quality=92)
        _mask(discs / f"{name}.bmp", picture.disc)
        if picture.atrophy.any():
            _mask(atrophies / f"{name}.bmp", picture.atrophy)


def _mask(path: Path, inside: np.ndarray) -> None:
    Image.fromarray(np.where(inside, 0, 255).astype(np.uint8)).save(path)


def _someone(random: np.random.Generator, *, darker: float) -> Eye:
    """Return an eye of another population, with more pigment and without lesions."""
    traits = {name: float(random.standard_normal()) for name in TRAITS}
    traits["pigment"] += darker
    eye = of_traits(
        traits, random, left=bool(random.random() < 0.5), age=float(random.uniform(25, 75)),
        sbp=float(random.normal(135, 16)), bmi=float(random.normal(25, 4)), male=bool(random.random() < 0.5),
    )  # fmt: skip
    return dataclasses.replace(eye, marks=())
