"""Draw advertisements of cars: `ads.csv` with `photos/`, and later ones, `may.csv` with `may/`.

    python examples/draw_ads.py OUT

A model has a shape, which the photo shows, and sizes and a price, which the table has. The colour and the position of
the car in the photo say nothing of its model.
"""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

MODELS = {"Ada": (14, 5, 900), "Boole": (19, 6, 1300), "Curie": (23, 5, 2100), "Dijkstra": (20, 9, 2600)}  # px, px, GBP


def draw(table: Path, photos: Path, rows: int, seed: int) -> None:
    """Write a table of `rows` advertisements, and a photo of 32 pixels for each."""
    rng = np.random.default_rng(seed)
    photos.mkdir(parents=True, exist_ok=True)
    ads = []
    for row in range(rows):
        model = str(rng.choice(list(MODELS)))
        (length, height, price), year = MODELS[model], int(rng.integers(2005, 2021))
        sky, colour = (tuple(map(int, rng.integers(low, high, 3))) for low, high in ((150, 230), (20, 150)))
        image = Image.new("RGB", (32, 32), sky)
        pen, x, y = ImageDraw.Draw(image), int(rng.integers(0, 32 - length)), int(rng.integers(14, 18))
        pen.rectangle((x, y, x + length, y + 6), fill=colour)
        pen.rectangle((x + length // 4, y - height, x + length - 5, y), fill=colour)
        for wheel in (x + 3, x + length - 6):
            pen.ellipse((wheel, y + 4, wheel + 5, y + 9), fill=(10, 10, 10))
        grain = rng.normal(0, 12, (32, 32, 3))
        Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8)).save(
            photos / f"{photos.name}_{row}.png"
        )
        ads.append(
            {
                "file": f"{photos.name}_{row}.png",
                "model": model if rng.random() > 0.1 else None,  # not every advertisement names it
                "year": year,
                "length": round(180.0 * length + rng.normal(0, 120)),
                "price": round(price * (year - 2000) / 10 + rng.normal(0, 200)),
                "fuel": str(rng.choice(["petrol", "diesel", "electric"])),
            }
        )
    pl.DataFrame(ads).write_csv(table)


if __name__ == "__main__":
    out = Path(sys.argv[1])
    draw(out / "ads.csv", out / "photos", rows=400, seed=0)
    draw(out / "may.csv", out / "may", rows=40, seed=1)
