"""How an advertisement stands in the tables, with what was planted in them, and which images it has."""

import dataclasses
import random
from typing import Any

from mmcl_jax.synthetic.cars.fleet import Ad
from mmcl_jax.synthetic.cars.scene import Scene

SIZES = ("Wheelbase", "Height", "Width", "Length")
SECOND = 0.1  # share of advertisements with a second image
_MAY_MISS = ("Color", "Bodytype", "Runned_Miles", "Engin_size", "Gearbox", "Fuel_type", "Seat_num", "Door_num")
# Why a recipe has to drop an advertisement, in the order in which it meets the reasons.
_REASONS = ("no price", "no image", "missing", "not a number")


@dataclasses.dataclass(kw_only=True)
class Listing:
    """An advertisement as it stands in the tables.

    Attributes:
      ad: the truth.
      cells: its row of Ad_table.csv, by column.
      sizes: its sizes in Ad_table (extra).csv.
      images: number and scene of its images, in the order of Image_table.csv.
      planted: why it cannot be used, if so.
      broken: what is wrong with the file of its first image, if so.
    """

    ad: Ad
    cells: dict[str, Any]
    sizes: dict[str, Any]
    images: list[tuple[int, Scene]]
    planted: str
    broken: str = ""

    def image_name(self, number: int) -> str:
        """Return the file name of an image."""
        ad, colour = self.ad, self.cells["Color"] or "Unlisted"
        return f"{ad.model.maker}$${ad.model.name}$${ad.registered}$${colour}$${ad.key}$$image_{number}.jpg"


def listed(ad: Ad, missing: float, priced: bool, seed: int) -> Listing:
    """Make the listing of an advertisement, with what is left out of it.

    Args:
      ad: the truth.
      missing: the share of cells, images and sizes that are left out.
      priced: whether the price table has its model and year.
      seed: of what is left out, and of the scenes of the images.
    """
    rng = random.Random(f"listing {seed} {ad.key}")
    model = ad.model
    cells = {
        "Maker": model.maker,
        "Genmodel": model.name,
        "Genmodel_ID": model.key,
        "Adv_ID": ad.key,
        "Adv_year": ad.year,
        "Adv_month": ad.month,
        "Color": ad.colour,
        "Reg_year": ad.registered,
        "Bodytype": model.body,
        "Runned_Miles": ad.miles,
        "Engin_size": f"{ad.engine}L",
        "Gearbox": ad.gearbox,
        "Fuel_type": ad.fuel,
        "Price": ad.price,
        "Seat_num": model.seats,
        "Door_num": ad.doors,
    }
    sizes: dict[str, Any] = dict(zip(SIZES, model.sized(ad.registered), strict=True))
    reasons = set() if priced else {"no price"}
    for column, odd in ("Price", "Uknown"), ("Runned_Miles", f"{ad.miles} mile"):
        if rng.random() < missing / 2:
            cells[column] = odd
            reasons.add("not a number")
    for column in _MAY_MISS:
        if rng.random() < missing:
            cells[column] = ""
            reasons.add("missing")
    for column in SIZES:
        # A model's first advertisement has its sizes, so that the others can be filled from it.
        if rng.random() < missing and not ad.key.endswith("$$1"):
            sizes[column] = rng.choice(("", 0))
    taken = random.Random(f"pictures {seed} {ad.key}")  # its own, so that images do not depend on what is left out
    numbers = taken.sample(range(8), 2 if taken.random() < SECOND else 1)
    if rng.random() < missing:
        numbers = []
        reasons.add("no image")
    return Listing(
        ad=ad,
        cells=cells,
        sizes=sizes,
        images=[(k, Scene.random(random.Random(f"scene {seed} {ad.key} {k}"))) for k in numbers],
        planted=next((reason for reason in _REASONS if reason in reasons), ""),
    )
