"""Invented makes and models of cars, and the advertisements that offer them."""

import dataclasses
import math
import random
from statistics import NormalDist

from mmcl_jax.synthetic.cars.canvas import Car
from mmcl_jax.synthetic.cars.scene import Colour

MAKERS = (
    *("Aldern", "Brookfield", "Corvane", "Dunmore", "Elstree", "Fenwick", "Garrow", "Halden", "Ilford", "Jarrow"),
    *("Kestrel", "Lomond", "Marlow", "Norden", "Orwell", "Pembroke", "Quorn", "Radley", "Selkirk", "Torrin"),
)
_FIRST = ("Al", "Bel", "Cal", "Dor", "El", "Fir", "Gal", "Hel", "Iv", "Jun", "Kal", "Lun", "Mer", "Nov", "Or", "Per")
_LAST = ("ano", "eon", "ia", "ix", "ora", "ero", "is", "ula", "ant", "ica", "on", "ea", "ador", "ette", "usa", "ay")
COLOURS: dict[str, Colour] = {
    "Black": (34, 34, 38),
    "White": (236, 236, 234),
    "Silver": (186, 190, 194),
    "Grey": (112, 116, 122),
    "Blue": (34, 66, 132),
    "Red": (164, 28, 34),
    "Green": (46, 92, 60),
    "Brown": (92, 64, 46),
    "Orange": (214, 112, 34),
    "Yellow": (226, 196, 50),
    "Beige": (204, 188, 158),
    "Purple": (84, 50, 104),
}
_COLOUR_SHARES = (22, 17, 14, 15, 14, 9, 3, 2, 1.5, 1, 1, 0.5)

# Wheelbase, height, width, length in mm and their spread; entry price in GBP; seats; doors; share of models.
_BODIES = {
    "Hatchback": ((2540, 1480, 1740, 4020), 0.045, 13500, (5, 4), (5, 3), 28),
    "Saloon": ((2800, 1450, 1830, 4720), 0.035, 25000, (5,), (4,), 14),
    "Estate": ((2760, 1475, 1810, 4680), 0.03, 23000, (5,), (5,), 10),
    "SUV": ((2670, 1680, 1850, 4430), 0.045, 26000, (5, 7), (5,), 20),
    "MPV": ((2740, 1650, 1820, 4420), 0.04, 20000, (7, 5), (5,), 8),
    "Coupe": ((2620, 1345, 1820, 4430), 0.035, 32000, (4, 2), (2, 3), 7),
    "Convertible": ((2420, 1320, 1770, 4180), 0.045, 27000, (4, 2), (2,), 6),
    "Pickup": ((3180, 1800, 1850, 5250), 0.025, 24000, (5,), (4,), 3),
    "Combi Van": ((2980, 1930, 1900, 4850), 0.04, 25000, (9, 8), (5,), 2),
    "Panel Van": ((3150, 2150, 1950, 5250), 0.05, 22000, (3,), (4, 5), 2),
}
_ENGINES = (1.0, 1.2, 1.4, 1.5, 1.6, 1.8, 2.0, 2.2, 2.5, 3.0, 4.0)
YEARS = (2000, 2018)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CarModel:
    """A model of car, which is a class label. Its sizes, in mm, change a little in its facelift year."""

    key: str  # Genmodel_ID, such as "7_12"
    maker: str
    name: str
    body: str
    sizes: tuple[tuple[int, ...], tuple[int, ...]]  # wheelbase, height, width, length; before and after the facelift
    facelift: int
    years: tuple[int, int]
    price: int
    engines: tuple[float, ...]
    seats: int
    doors: int
    spokes: int
    grille: float

    def sized(self, year: int) -> tuple[int, ...]:
        """Return wheelbase, height, width and length of a car that was built in `year`."""
        return self.sizes[year >= self.facelift]

    def entry_price(self, year: int) -> int:
        """Return the price of the cheapest new car in `year`."""
        return round(self.price * 1.025 ** (year - 2010) / 5) * 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ad:
    """An advertisement, without missing values."""

    key: str  # Adv_ID, such as "7_12$$34"
    model: CarModel
    year: int
    month: int
    registered: int
    colour: str
    paint: Colour
    miles: int
    engine: float
    gearbox: str
    fuel: str
    price: int
    doors: int

    def car(self) -> Car:
        """Return the visible properties of the car."""
        wheelbase, height, width, length = self.model.sized(self.registered)
        return Car(
            wheelbase=wheelbase,
            height=height,
            width=width,
            length=length,
            body=self.model.body,
            paint=self.paint,
            doors=self.doors,
            spokes=self.model.spokes,
            grille=self.model.grille,
        )


def fleet(models: int, seed: int) -> list[CarModel]:
    """Return a number of car models; each depends only on the seed and its index."""
    return [_model(number, seed) for number in range(models)]


def _model(number: int, seed: int) -> CarModel:
    rng = random.Random(f"model {seed} {number}")
    make, serial = number % len(MAKERS), number // len(MAKERS)
    # The name depends on the number such that no two models share one.
    name = _FIRST[(number * 7 + serial) % 16] + _LAST[(number * 5 + number // 16) % 16]
    name += f" {2 + number // 256}" if number >= 256 else ""
    body = rng.choices(list(_BODIES), [row[-1] for row in _BODIES.values()])[0]
    sizes, spread, price, seats, doors, _ = _BODIES[body]
    # A model has a size factor, and proportions of its own.
    growth = rng.gauss(0, spread)
    first = [
        round(mm * math.exp(growth * weight + rng.gauss(0, 0.015))) for mm, weight in zip(sizes, _GROWTH, strict=True)
    ]
    later = [round(mm * math.exp(rng.gauss(0, 0.006))) for mm in first]
    begin = rng.randint(YEARS[0], YEARS[1] - 7)
    end = min(YEARS[1], begin + rng.randint(6, 12))
    low = rng.randrange(0, 6) if price < 25000 else rng.randrange(4, 7)
    return CarModel(
        key=f"{make + 2}_{serial * 3 + rng.randint(1, 3)}",
        maker=MAKERS[make],
        name=name,
        body=body,
        sizes=(tuple(first), tuple(later)),
        facelift=rng.randint(begin + 2, end - 2),
        years=(begin, end),
        price=round(price * math.exp(2.5 * growth + rng.gauss(0, 0.2))),
        engines=tuple(sorted(rng.sample(_ENGINES[low : low + 5], rng.randint(2, 4)))),
        seats=rng.choice(seats),
        doors=rng.choice(doors),
        spokes=rng.choice((5, 6, 7, 8, 10)),
        grille=0.45 + 0.05 * (make % 11),
    )


_GROWTH = (1.0, 0.35, 0.5, 1.1)  # effect of the size factor on wheelbase, height, width, length


def class_sizes(models: int, ads: int, seed: int) -> list[int]:
    """Return the number of advertisements of each model: a log-normal distribution, as uneven as the original."""
    weights = [math.exp(NormalDist().inv_cdf((rank + 0.5) / models)) for rank in range(models)]
    random.Random(f"sizes {seed}").shuffle(weights)
    sizes = [int(ads * weight / sum(weights)) for weight in weights]
    order = sorted(range(models), key=lambda number: -weights[number])
    for k in range(ads - sum(sizes)):
        sizes[order[k % models]] += 1
    return sizes


def advertise(model: CarModel, number: int, seed: int) -> Ad:
    """Return the advertisement `number` of a model; it depends only on the seed, the model and the number."""
    key = f"{model.key}$${number}"
    rng = random.Random(f"ad {seed} {key}")
    registered = rng.randint(*model.years)
    year = rng.choices((2012, 2014, 2016, 2017, 2018, 2020, 2021), (1, 1, 2, 8, 60, 8, 12))[0]
    year = max(year, registered)
    age = year - registered
    miles = round(max(10, rng.gauss(9000, 2500) * (age + rng.uniform(0.1, 0.9))))
    new = model.entry_price(registered) * rng.uniform(1.0, 1.35)
    worth = new * math.exp(-0.13 * age - miles / 250_000 + rng.gauss(0, 0.08))
    colour = rng.choices(list(COLOURS), _COLOUR_SHARES)[0]
    light = rng.randint(-14, 14)
    red, green, blue = (min(255, max(0, value + light + rng.randint(-4, 4))) for value in COLOURS[colour])
    engine = rng.choice(model.engines)
    return Ad(
        key=key,
        model=model,
        year=year,
        month=rng.randint(1, 12),
        registered=registered,
        colour=colour,
        paint=(red, green, blue),
        miles=miles,
        engine=engine,
        gearbox=rng.choices(("Manual", "Automatic", "Semi-Automatic"), (60, 36, 4))[0],
        fuel=rng.choices(("Petrol", "Diesel", "Hybrid  Petrol/Electric"), (60, 36, 4))[0],
        price=max(300, round(worth / 5) * 5 - 5),
        doors=rng.choice((3, 5)) if model.body == "Hatchback" else model.doors,
    )
