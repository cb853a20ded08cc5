"""Generating a data set of car advertisements in the file formats of DVM-CAR: tables, and images of the cars."""

import random
from pathlib import Path

from mmcl_jax.errors import check
from mmcl_jax.synthetic.cars.fleet import advertise, class_sizes, fleet
from mmcl_jax.synthetic.cars.listing import Listing, listed
from mmcl_jax.synthetic.cars.write import write_ids, write_images, write_tables, write_truth


def generate_dvm(
    root: Path,
    *,
    models: int = 12,
    ads: int = 600,
    image_size: int = 300,
    seed: int = 0,
    missing: float = 0.02,
    broken: int = 3,
    min_ads: int = 100,
    workers: int = 1,
) -> None:
    """Write a tree like that of DVM-CAR V2.0, with invented makes, models and advertisements.

    `tables_V2.0` holds the four tables that are used (Ad_table, Ad_table (extra), Image_table, Price_table), with the
    spaces of the original in their headers; `resized_DVM` holds the images; `ids` the split lists; and `truth.csv` has
    a row per advertisement with the drawn properties and the planted faults.

    These columns can be seen in the images: Wheelbase, Height, Width and Length (up to scale), Bodytype, Color and
    Door_num. No other column can, except that wheels tell models and grilles tell makes. The viewpoint, the light and
    the place are independent of all columns. An advertisement and its images depend only on the seed and its Adv_ID; a
    model depends only on the seed and its number.

    Planted faults are empty cells; prices "Uknown" and mileages with a unit, which are not numbers; advertisements
    without an image, or of a model and year without a price; sizes that are 0 or empty; and broken image files.

    Args:
      root: the folder to create.
      models: number of car models; their numbers of advertisements are uneven.
      ads: number of advertisements of all models together.
      image_size: height and width of an image in pixels.
      seed: the seed of all random numbers.
      missing: the share of empty cells in each column that may have them, and of the other faults in the tables.
      broken: number of image files that are, in turn, truncated, empty or absent.
      min_ads: number of advertisements without a fault that a model needs to be in the split lists.
      workers: number of processes that draw.

    Raises:
      UserError: the folder is not empty, or the numbers are impossible.
    """
    check(not root.exists() or not any(root.iterdir()), f"{root} is not empty; name a new folder.")
    least_ads = 3 * models
    check(ads >= least_ads, f"{ads} advertisements are too few for {models} models; give {least_ads} or more.")
    check(0 <= missing <= 0.2, f"--dataset.missing={missing} is not a share between 0 and 0.2.")
    check(image_size >= 16, f"--dataset.image_size={image_size} is too small; give 16 or more.")
    for name, value, least in (
        ("models", models, 1),
        ("min_ads", min_ads, 4),
        ("broken", broken, 0),
        ("workers", workers, 1),
    ):
        check(value >= least, f"--dataset.{name}={value} is too small; give {least} or more.")
    cars = fleet(models, seed)
    prices = {(car.key, year): car.entry_price(year) for car in cars for year in range(car.years[0], car.years[1] + 1)}
    prices = {key: price for key, price in prices.items() if random.Random(f"price {seed} {key}").random() >= missing}
    listings: list[Listing] = []
    for model, number in sorted(zip(cars, class_sizes(models, ads, seed), strict=True), key=lambda pair: pair[0].key):
        ads_of_model = (advertise(model, k, seed) for k in range(1, number + 1))
        listings += [listed(ad, missing, (model.key, ad.registered) in prices, seed) for ad in ads_of_model]
    complete = [listing for listing in listings if not listing.planted]
    most = len(complete)
    check(broken <= most, f"--dataset.broken={broken} is more than the {most} advertisements without a fault.")
    for turn, listing in enumerate(random.Random(f"broken {seed}").sample(complete, broken)):
        listing.broken = ("truncated", "empty", "absent")[turn % 3]
    splits = _splits(complete, min_ads, seed)
    write_tables(root / "tables_V2.0", cars, prices, listings)
    write_ids(root / "ids", splits)
    write_truth(root / "truth.csv", listings)
    write_images(root / "resized_DVM", listings, image_size, workers)


def _splits(complete: list[Listing], min_ads: int, seed: int) -> dict[str, list[str]]:
    """Return the keys of each split: of each model, half for test, and a fifth of the rest for validation."""
    by_model: dict[str, list[str]] = {}
    for listing in complete:
        by_model.setdefault(listing.ad.model.key, []).append(listing.ad.key)
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    rng = random.Random(f"splits {seed}")
    for keys in by_model.values():
        if len(keys) < min_ads:
            continue
        rng.shuffle(keys)
        test, val = len(keys) // 2, len(keys) // 2 + max(1, len(keys) // 10)
        for name, part in zip(("test", "val", "train"), (keys[:test], keys[test:val], keys[val:]), strict=True):
            splits[name] += part
    check(
        bool(splits["train"]),
        f"No model has {min_ads} advertisements without a fault; raise --dataset.ads, or lower --dataset.min_ads.",
    )
    for part in splits.values():
        rng.shuffle(part)
    return splits
