"""Writing advertisements to the files of DVM-CAR V2.0."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcl_jax.data.workers import pool
from mmcl_jax.synthetic.cars.canvas import Car
from mmcl_jax.synthetic.cars.draw import draw
from mmcl_jax.synthetic.cars.fleet import CarModel
from mmcl_jax.synthetic.cars.listing import SIZES, Listing
from mmcl_jax.synthetic.cars.scene import Scene

# The headers have the spaces of the original.
_AD: tuple[str, ...] = (
    "Maker",
    " Genmodel",
    " Genmodel_ID",
    "Adv_ID",
    "Adv_year",
    "Adv_month",
    "Color",
    "Reg_year",
    "Bodytype",
)
_AD += ("Runned_Miles", "Engin_size", "Gearbox", "Fuel_type", "Price")
_SEATS = ("Seat_num", "Door_num")
_EXTRA = ("Engine_power", "Annual_Tax", *SIZES, "Average_mpg", "Top_speed")
_IMAGE = ("Genmodel_ID", " Image_ID", " Image_name", " Predicted_viewpoint", " Quality_check")
_PRICE = ("Maker", " Genmodel", " Genmodel_ID", " Year", " Entry_price")
_SCENE = tuple(field.name for field in dataclasses.fields(Scene) if field.name != "seed")


def write_tables(
    folder: Path, cars: Iterable[CarModel], prices: Mapping[tuple[str, int], int], listings: Sequence[Listing]
) -> None:
    """Write Ad_table, Ad_table (extra), Image_table and Price_table."""
    columns = _AD + _SEATS
    rows = [[listing.cells[column.strip()] for column in columns] for listing in listings]
    _write(folder / "Ad_table.csv", columns, rows)
    # No recipe uses power, tax, consumption and speed, so they stay empty.
    extra = [
        [*row[: len(_AD)], "", "", *listing.sizes.values(), "", "", *row[len(_AD) :]]
        for row, listing in zip(rows, listings, strict=True)
    ]
    _write(folder / "Ad_table (extra).csv", _AD + _EXTRA + _SEATS, extra)
    images = [
        (
            listing.ad.model.key,
            f"{listing.ad.key}$${k}",
            listing.image_name(k),
            scene.viewpoint,
            "P" if scene.viewpoint == 0 else "",
        )
        for listing in listings
        for k, scene in listing.images
    ]
    _write(folder / "Image_table.csv", _IMAGE, images)
    names = {car.key: (car.maker, car.name) for car in cars}
    _write(
        folder / "Price_table.csv", _PRICE, [(*names[key], key, year, price) for (key, year), price in prices.items()]
    )


def write_ids(folder: Path, splits: Mapping[str, Sequence[str]]) -> None:
    """Write the identifiers of each split, separated by commas like the published lists."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, keys in splits.items():
        (folder / f"{split}_ids_dvm_all_views.txt").write_text(",".join(keys))


def write_truth(path: Path, listings: Iterable[Listing]) -> None:
    """Write the properties drawn in the first image of each advertisement, and the planted faults."""
    car_fields = tuple(field.name for field in dataclasses.fields(Car))
    rows = []
    for listing in listings:
        number, scene = listing.images[0] if listing.images else (None, None)
        car = dataclasses.asdict(listing.ad.car())
        name = "" if number is None else listing.image_name(number)
        of_scene = ["" if scene is None else _text(getattr(scene, field)) for field in _SCENE]
        of_car = [_text(car[field]) for field in car_fields]
        rows.append((listing.ad.key, listing.ad.model.key, listing.planted, listing.broken, name, *of_car, *of_scene))
    _write(path, ("Adv_ID", "Genmodel_ID", "planted", "broken", "Image_name", *car_fields, *_SCENE), rows)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(map(_text, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def write_images(folder: Path, listings: Iterable[Listing], size: int, workers: int) -> None:
    """Draw and write the images, `size` pixels high and wide, in `workers` processes."""
    tasks = []
    for listing in listings:
        for index, (number, scene) in enumerate(listing.images):
            name = listing.image_name(number)
            path = folder.joinpath(*name.split("$$")[:4], name)
            tasks.append((path, listing.ad.car(), scene, size, listing.broken if index == 0 else ""))
    for parent in {task[0].parent for task in tasks}:
        parent.mkdir(parents=True, exist_ok=True)
    if workers == 1:
        for task in tasks:
            _write_image(task)
        return
    with pool(workers) as processes:
        for _ in processes.map(_write_image, tasks, chunksize=64):
            pass


def _write_image(task: tuple[Path, Car, Scene, int, str]) -> None:
    path, car, scene, size, broken = task
    if broken == "absent":
        return
    file = io.BytesIO()
    draw(car, scene, size).save(file, "JPEG", quality=88)
    content = file.getvalue()
    path.write_bytes({"truncated": content[: len(content) // 3], "empty": b""}.get(broken, content))


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
