"""The row of a person in the main table of UK Biobank: columns FIELD-VISIT.ARRAY, coded answers, empty cells."""

from collections.abc import Mapping

import numpy as np

Row = dict[str, object]
# ICD-10 codes of four characters: unrelated to the heart, and those that the labels look for.
OTHERS = ("K409", "M179", "H269", "I10", "N390", "Z864", "J459", "R074")
CORONARY = ("I209", "I251", "I259", "I248")
INFARCTIONS = ("I214", "I219", "I211")
_NO_ANSWER = ("-1", "-3")


def risk_of(person: Mapping[str, float]) -> float:
    """Return the log-odds of coronary artery disease, up to a constant."""
    mass_index = person["weight"] / (person["height"] / 100) ** 2
    return float(
        0.06 * (person["age"] - 63)
        + 0.8 * person["male"]
        + 0.03 * (person["systolic"] - 136)
        + 0.03 * person["pack_years"]
        + 0.08 * (mass_index - 26.5)
        + 0.6 * person["luck"]
    )


def table_row(person: Mapping[str, float], random: np.random.Generator, missing: float) -> Row:
    """Return the cells of one person, by column.

    Args:
      person: the numbers of the person, as `generate_cardiac` draws them.
      random: the random generator of this person.
      missing: the share of measured cells that are left empty.
    """
    measured = {**_body(person, random), **_pressure(person, random), **_heart(person)}
    row: Row = {name: "" if random.random() < missing else f"{value:.2f}" for name, value in measured.items()}
    row |= {"31-0.0": int(person["male"]), "21003-0.0": int(person["age"] - 9), "21003-2.0": int(person["age"])}
    # Measured at the first visit, ten years earlier; for some people this is the only value.
    row |= {"21002-0.0": f"{person['weight'] - 1:.1f}", "50-0.0": f"{person['height']:.1f}"}
    row |= {"21021-2.0": f"{random.normal(9.5, 2):.2f}" if random.random() < 0.4 else ""}  # missing in most rows
    return row | _answers(person, random) | _diagnoses(person, random)


def _body(person: Mapping[str, float], random: np.random.Generator) -> dict[str, float]:
    height, weight, male = person["height"], person["weight"], person["male"]
    mass_index = weight / (height / 100) ** 2
    fat = np.clip(1.2 * mass_index + 4 - 10 * male + random.normal(0, 2), 8, 55)
    return {
        "50-2.0": height,
        "12144-2.0": height + random.normal(0, 0.5),
        "20015-2.0": 0.52 * height + random.normal(0, 1),
        "21002-2.0": weight,
        "21001-2.0": mass_index,
        "48-2.0": 2.2 * mass_index + 26 + 8 * male + random.normal(0, 4),
        "49-2.0": 1.6 * mass_index + 60 + random.normal(0, 4),
        "23099-2.0": fat,
        "23100-2.0": weight * fat / 100,
        "23101-2.0": weight * (1 - fat / 100),
        "23102-2.0": 0.73 * weight * (1 - fat / 100),
        "22427-2.0": np.sqrt(height * weight / 3600),
    }


def _pressure(person: Mapping[str, float], random: np.random.Generator) -> dict[str, float]:
    """Return two readings of each quantity, which are the two values of its array."""
    readings = {f"4080-2.{n}": person["systolic"] + random.normal(0, 3) for n in range(2)}
    readings |= {f"4079-2.{n}": 0.35 * person["systolic"] + 33 + random.normal(0, 4) for n in range(2)}
    return readings | {f"102-2.{n}": 66 + random.normal(0, 8) for n in range(2)}


def _heart(person: Mapping[str, float]) -> dict[str, float]:
    left, right = person["lvedv"] - person["lvesv"], person["rvedv"] - person["rvesv"]
    return {
        "24100-2.0": person["lvedv"],
        "24101-2.0": person["lvesv"],
        "24102-2.0": left,
        "24103-2.0": 100 * left / person["lvedv"],
        "24104-2.0": 0.066 * left,
        "24105-2.0": person["lvm"],
        "24106-2.0": person["rvedv"],
        "24107-2.0": person["rvesv"],
        "24108-2.0": right,
        "24109-2.0": 100 * right / person["rvedv"],
    }


def _answers(person: Mapping[str, float], random: np.random.Generator) -> Row:
    smoked, pills = person["pack_years"] > 0, person["systolic"] > 145
    # The table hints at the disease without giving it away: people who fall ill later are not treated yet.
    diagnosed = random.random() < (0.55 if person["infarction"] else 0.01)
    statin = random.random() < (0.6 if person["cad"] else 0.2)
    medicines = [2] * pills + [1] * statin or [-7]
    days = int(random.integers(0, 8))
    row: Row = {
        "1558-2.0": int(random.integers(1, 7)),
        "1349-2.0": int(random.integers(0, 6)),
        "1369-2.0": int(random.integers(0, 4)),
        "1289-2.0": int(random.choice([-10, 0, 1, 2, 3, 4])),
        "1160-2.0": int(random.integers(5, 10)),
        "1200-2.0": int(random.integers(1, 4)),
        "1070-2.0": int(random.choice([-10, 1, 2, 3, 4])),
        "2178-2.0": int(random.integers(1, 5)),
        "924-2.0": int(random.integers(1, 4)),
        "864-2.0": days,
        "874-2.0": 10 * int(random.integers(1, 12)) if days else "",  # asked only of those who walk
        "20116-2.0": int(random.integers(1, 3)) if smoked else 0,
        "20160-2.0": int(smoked),
        "20161-2.0": f"{person['pack_years']:.1f}" if smoked else "",  # asked only of smokers
        "2443-2.0": int(random.random() < 0.06),
        "6150-2.0": 1 if diagnosed else 4 if pills else -7,
        "20004-2.0": int(random.choice([1070, 1095])) if diagnosed else "",
    }
    for index, code in enumerate(medicines):
        row[f"{6177 if person['male'] else 6153}-2.{index}"] = code
    for name in ("1558-2.0", "1349-2.0", "1160-2.0", "2178-2.0"):
        if random.random() < 0.06:
            row[name] = str(random.choice(_NO_ANSWER))
    return row


def _diagnoses(person: Mapping[str, float], random: np.random.Generator) -> Row:
    """Return ICD-10 codes in random order in an array of eight cells, most of them empty."""
    codes = list(random.choice(OTHERS, int(random.integers(0, 4)), replace=False))
    if person["cad"]:
        codes.append(random.choice(INFARCTIONS if person["infarction"] else CORONARY))
    random.shuffle(codes)
    return {f"41270-0.{index}": str(codes[index]) if index < len(codes) else "" for index in range(8)}
