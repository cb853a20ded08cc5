"""Listings: advertisements as the tables show them, with planted faults, and with their images."""

import dataclasses
import random
from typing import Any

from mmcl_jax.synthetic.cars.fleet import Ad
from mmcl_jax.synthetic.cars.scene import Scene

SIZES = ("Wheelbase", "Height", "Width", "Length")
SECOND = 0.1  # share of advertisements with a second image
_MAY_MISS = ("Color", "Bodytype", "Runned_Miles", "Engin_size", "Gearbox", "Fuel_type", "Seat_num", "Door_num")
# Why a recipe must drop an advertisement, in the order in which it checks.
_REASONS = ("no price", "no image", "missing", "not a number")


@dataclasses.dataclass(kw_only=True)
class Listing:
    """An advertisement as the tables show it.

    Attributes:
      ad: the advertisement without faults.
      cells: its row of Ad_table.csv, by column.
      sizes: its sizes in Ad_table (extra).csv.
      images: (number, scene) of each of its images, in the order of Image_table.csv.
      planted: the planted fault that makes it unusable; "" if there is none.
      broken: the fault of the file of its first image: "truncated", "empty", "absent", or "" for none.
    """

    ad: Ad
    cells: dict[str, Any]
    sizes: dict[str, Any]
    images: list[tuple[int, Scene]]
    planted: str
    broken: str = ""

    def image_name(self, number: int) -> str:
        """Return the file name of the image with this number."""
        ad, colour = self.ad, self.cells["Color"] or "Unlisted"
        return f"{ad.model.maker}$${ad.model.name}$${ad.registered}$${colour}$${ad.key}$$image_{number}.jpg"


def listed(ad: Ad, missing: float, priced: bool, seed: int) -> Listing:
    """Return the listing of an advertisement, with planted faults.

    Args:
      ad: the advertisement without faults.
      missing: the share of cells, images and sizes that are left out.
      priced: whether the price table has its model and year.
      seed: the seed of the faults, and of the scenes of the images.
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
        # A model's first advertisement keeps its sizes, so that its other advertisements can be filled from it.
        if rng.random() < missing and not ad.key.endswith("$$1"):
            sizes[column] = rng.choice(("", 0))
    image_rng = random.Random(f"pictures {seed} {ad.key}")  # separate, so that images do not depend on `missing`
    numbers = image_rng.sample(range(8), 2 if image_rng.random() < SECOND else 1)
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
