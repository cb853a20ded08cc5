"""What a drawn eye looks like, as numbers: its anatomy, its lesions and the camera that takes the photograph."""

import dataclasses

import numpy as np

TRAITS = ("cup", "calibre", "tortuosity", "pigment", "drusen", "leakage")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Marks:
    """Lesions of one kind: soft or sharp round marks of one colour.

    Attributes:
      count: how many.
      colour: `(red, green, blue)` from 0 to 1.
      size: median radius, in radii of the field of view.
      spread: standard deviation of their distance from the middle of the group.
      centre: x and y of the group's middle, in radii, seen from the fovea towards the disc.
      strength: how much of the colour replaces that of the retina, from 0 to 1.
      sharp: whether the edges are sharp.
    """

    count: int
    colour: tuple[float, float, float]
    size: float
    spread: float
    centre: tuple[float, float] = (0.0, 0.0)
    strength: float = 0.8
    sharp: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Eye:
    """The anatomy of one eye; lengths are in radii of the field of view.

    Attributes:
      left: whether it is a left eye, whose disc is on the left of the photograph.
      disc: radius of the optic disc.
      cup: radius of the cup, as a share of that of the disc.
      pallor: how pale the disc is, from 0 to 1.
      swelling: how blurred the edge of the disc is, from 0 to 1.
      artery: width of the large arteries.
      vein: width of the large veins.
      tortuosity: how much vessels wind; 1 is usual.
      pigment: how dark the retina is, in standard deviations of a population.
      tessellation: how visible the vessels of the choroid are, from 0 to 1.
      atrophy: outer radius of the atrophy around the disc as a multiple of the disc's radius; 0 for none.
      yellowing: how yellow the lens is, from 0 to 1.
      haze: how cloudy the view is, from 0 to 1.
      marks: lesions.
    """

    left: bool
    disc: float = 0.165
    cup: float = 0.42
    pallor: float = 0.0
    swelling: float = 0.0
    artery: float = 0.03
    vein: float = 0.041
    tortuosity: float = 1.0
    pigment: float = 0.0
    tessellation: float = 0.25
    atrophy: float = 0.0
    yellowing: float = 0.2
    haze: float = 0.0
    marks: tuple[Marks, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """How photographs of one camera look.

    Attributes:
      width: of a photograph, in heights.
      radius: of the field of view, in heights.
      colour: gains of red, green and blue.
      gamma: exponent of the brightness.
      sharpness: standard deviation of the blur, in radii of the field of view.
      noise: standard deviation of the noise of a pixel, from 0 to 1.
      edge: softness of the rim of the field of view, in radii.
    """

    width: float = 4 / 3
    radius: float = 0.465
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    gamma: float = 1.0
    sharpness: float = 0.006
    noise: float = 0.012
    edge: float = 0.015


def drusen(count: int) -> Marks:
    """Return soft yellow deposits around the fovea."""
    return Marks(count=count, colour=(0.95, 0.82, 0.45), size=0.026, spread=0.24, strength=0.7, sharp=False)


def haemorrhages(count: int) -> Marks:
    """Return dark red blots between the arcades."""
    return Marks(count=count, colour=(0.34, 0.05, 0.04), size=0.024, spread=0.42, strength=0.85)


def exudates(count: int) -> Marks:
    """Return bright yellow spots near the fovea."""
    return Marks(count=count, colour=(1.0, 0.9, 0.5), size=0.016, spread=0.2, centre=(-0.12, 0.08), strength=0.9)


def of_traits(
    traits: dict[str, float],
    random: np.random.Generator,
    *,
    left: bool,
    age: float,
    sbp: float,
    bmi: float,
    male: bool,
    smoker: bool = False,
) -> Eye:
    """Return the eye of a person, with some variation that the other eye does not share.

    Args:
      traits: the person's value of each of `TRAITS`, in standard deviations of the population.
      random: the source of the variation of this eye.
      left: whether it is the left eye.
      age: in years; it yellows the lens and clouds the view.
      sbp: systolic blood pressure in mmHg, which narrows arteries.
      bmi: body mass index in kg/m2, which widens veins.
      male: whether the person is a man, whose disc is a little larger.
      smoker: whether the person smokes, which makes the disc paler.
    """
    own = {name: traits[name] + 0.25 * random.standard_normal() for name in TRAITS}
    calibre = float(np.exp(0.2 * own["calibre"]))
    pressure, old = (sbp - 138) / 18, (age - 57) / 8
    spots = random.poisson(np.exp(1.1 + 1.0 * np.clip(own["drusen"], -3, 2.6)))
    leaks = np.clip(own["leakage"], -3, 2.8)
    return Eye(
        left=left,
        disc=float(0.165 * np.exp(0.06 * random.standard_normal() + (0.035 if male else -0.035))),
        cup=float(np.clip(0.43 + 0.13 * own["cup"], 0.12, 0.86)),
        pallor=float(np.clip(0.1 + 0.08 * random.standard_normal() + 0.45 * smoker, 0, 1)),
        artery=float(0.03 * calibre * np.exp(-0.17 * pressure)),
        vein=float(0.041 * calibre * np.exp(0.14 * (bmi - 27) / 4.5)),
        tortuosity=float(np.clip(np.exp(0.55 * own["tortuosity"]), 0.15, 2.6)),
        pigment=own["pigment"],
        tessellation=float(np.clip(0.3 - 0.18 * own["pigment"] + 0.06 * old, 0, 0.9)),
        yellowing=float(np.clip(0.3 + 0.24 * old + 0.06 * random.standard_normal(), 0, 1)),
        haze=float(np.clip(0.08 + 0.06 * old + 0.05 * random.standard_normal(), 0, 0.6)),
        marks=(
            drusen(int(spots)),
            haemorrhages(int(random.poisson(np.exp(0.1 + 1.1 * leaks)))),
            exudates(int(random.poisson(np.exp(-0.6 + 1.3 * leaks)))),
        ),
    )
