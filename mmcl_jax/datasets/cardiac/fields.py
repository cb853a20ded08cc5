"""The fields of UK Biobank that become the cardiac table.

The list is that of the released code: 68 numbers, 18 yes/no and 32 choices, 118 in all. The paper counts 117 fields (24
of them morphometric), in another section 120, and lists them in a supplement. It is not known which field it lacks, or
which 24 it calls morphometric; the 23 fields that measure the size of the body or of the ventricles have the tag
here. Age is not on the list. The 10 image-derived values came from a file of the authors; here they are fields
24100-24109, in which UK Biobank has since returned the same measures.

Most field numbers are in public listings of the Data Showcase. These are not, so compare them with your own export:
12143, 12144, 12336, 12338, 12340, 20403, 20414, 20416, 22330, 22333, 22334, 23283.

Names are close to those of the Data Showcase. The rules for values are the released code's: the answers that mean less
than one, the value of a question that was not asked, and the limits of plausible measurements.
"""

import math
from collections.abc import Mapping
from typing import Any

from mmcl_jax.datasets.cardiac.ukb import Field

BODY = ("body", "morphometric")
HEART = ("heart", "morphometric")
UNKNOWN = (-1, -3, -818, -121)  # "do not know" and "prefer not to answer", in both questionnaires


def _measured(theme: str | tuple[str, ...], unit: str, *named: tuple[str, int], low: float = -math.inf) -> list[Field]:
    tags = (theme,) if isinstance(theme, str) else theme
    return [Field(name, (number,), unit=unit, tags=tags, low=low) for name, number in named]


def _question(theme: str, name: str, number: int, unit: str, **rules: Any) -> Field:
    return Field(name, (number,), unit=unit, tags=(theme,), missing=UNKNOWN, **rules)


def _choice(theme: str, name: str, number: int, coding: Mapping[int, str], *none: int, **rules: Any) -> Field:
    missing = (*UNKNOWN, *none)
    return Field(name, (number,), how="choice", tags=(theme,), coding=coding, missing=missing, **rules)


def _reported(name: str, ids: tuple[int, ...], code: int, *evidence: int, theme: str = "diagnoses") -> Field:
    return Field(name, ids, how="any of", tags=(theme,), missing=UNKNOWN, codes=(code,), evidence=evidence)


def _numbered(first: int, *texts: str) -> dict[int, str]:
    return dict(enumerate(texts, first))


YES_NO = _numbered(0, "no", "yes")
MEAT = _numbered(
    0, "never", "less than once a week", "once a week", "2-4 times a week", "5-6 times a week", "once or more daily"
)
DAYS = {days: str(days) for days in range(8)}
TIMES = _numbered(
    0,
    "not done",
    "once in the last 4 weeks",
    "2-3 times in the last 4 weeks",
    "once a week",
    "2-3 times a week",
    "4-5 times a week",
    "every day",
)
LONG = _numbered(
    0,
    "not done",
    "less than 15 minutes",
    "15 to 30 minutes",
    "30 minutes to 1 hour",
    "1 to 1.5 hours",
    "1.5 to 2 hours",
    "2 to 3 hours",
    "over 3 hours",
)
EVER = _numbered(0, "never", "previous", "current")
STAIRS = (
    "none",
    "1-5 times a day",
    "6-10 times a day",
    "11-15 times a day",
    "16-20 times a day",
    "over 20 times a day",
)
DRINKS = ("daily or almost daily", "3 or 4 times a week", "1 or 2 times a week", "1 to 3 times a month",
          "special occasions only", "never")  # fmt: skip
MEDICINES = (6153, 6177)  # the question for women, and the question for men
OPERATIONS = (
    1069, 1070, 1071, *range(1095, 1111), 1393, 1476, 1479, 1514, 1515, 1516, 1523, 1524, 1545, *range(1548, 1556),
    1599, 1604,
)  # fmt: skip

NUMBERS = [
    Field("Pulse wave arterial stiffness index", (21021,), tags=("pulse wave",), high=50),
    Field("Systolic blood pressure", (93, 4080), unit="mmHg", tags=("blood pressure",), high=500),
    Field("Diastolic blood pressure", (94, 4079), unit="mmHg", tags=("blood pressure",)),
    Field("Pulse rate", (95, 102), unit="bpm", tags=("blood pressure",)),
    *_measured(BODY, "%", ("Body fat percentage", 23099)),
    *_measured(BODY, "kg", ("Whole body fat mass", 23100), ("Whole body fat-free mass", 23101)),
    *_measured(BODY, "kg", ("Whole body water mass", 23102)),
    *_measured(BODY, "kg/m2", ("Body mass index", 21001)),
    _question("diet", "Cooked vegetable intake", 1289, "tablespoons/day", below=(-10,)),
    _question("diet", "Salad / raw vegetable intake", 1299, "tablespoons/day", below=(-10,)),
    Field("Cardiac operations performed", (20004,), how="count of", tags=("diagnoses",), codes=OPERATIONS),
    *_measured(BODY, "g", ("Total mass", 23283), low=100),
    *_measured("body", "kJ", ("Basal metabolic rate", 23105), low=10),
    *_measured("body", "ohm", ("Impedance of whole body", 23106), low=10),
    *_measured(BODY, "cm", ("Waist circumference", 48), ("Hip circumference", 49), low=10),
    *_measured(BODY, "cm", ("Standing height", 50), ("Height", 12144), ("Sitting height", 20015), low=10),
    Field("Weight", (21002,), unit="kg", tags=BODY, instead=12143, low=2),
    *_measured("ECG", "bpm", ("Ventricular rate", 12336)),
    *_measured("ECG", "ms", ("P duration", 12338)),
    Field("QRS duration", (12340,), unit="ms", tags=("ECG",), low=2, high=200),
    *_measured("ECG", "ms", ("PQ interval", 22330)),
    *_measured("ECG", "ms", ("RR interval", 22333), low=2),
    *_measured("ECG", "ms", ("PP interval", 22334)),
    *_measured("heart", "L/min", ("Cardiac output", 22424)),
    *_measured("heart", "L/min/m2", ("Cardiac index", 22425)),
    *_measured("heart", "bpm", ("Average heart rate", 22426)),
    *_measured(BODY, "m2", ("Body surface area", 22427)),
    _question("activity", "Duration of walks", 874, "min/day", unasked=0, unasked_where=864, high=1000),
    _question("activity", "Duration of moderate activity", 894, "min/day", unasked=0, unasked_where=884, high=1000),
    _question("activity", "Duration of vigorous activity", 914, "min/day", unasked=0, unasked_where=904, high=1000),
    _question("activity", "Time spent watching television", 1070, "h/day", below=(-10,), unasked=0),
    _question("activity", "Time spent using computer", 1080, "h/day", below=(-10,), unasked=0),
    _question("activity", "Time spent driving", 1090, "h/day", below=(-10,), unasked=0),
    *_measured("pulse wave", "bpm", ("Heart rate during PWA", 12673)),
    *_measured(
        "pulse wave",
        "mmHg",
        ("Systolic brachial blood pressure during PWA", 12674),
        ("Diastolic brachial blood pressure during PWA", 12675),
        ("Peripheral pulse pressure during PWA", 12676),
        ("Central systolic blood pressure during PWA", 12677),
        ("Central pulse pressure during PWA", 12678),
    ),
    *_measured("pulse wave", "", ("Number of beats in waveform average for PWA", 12679)),
    *_measured("pulse wave", "mmHg", ("Central augmentation pressure during PWA", 12680)),
    *_measured("pulse wave", "%", ("Augmentation index for PWA", 12681)),
    *_measured("pulse wave", "L/min", ("Cardiac output during PWA", 12682)),
    *_measured("pulse wave", "mmHg", ("End systolic pressure during PWA", 12683)),
    *_measured("pulse wave", "mmHg/m2", ("End systolic pressure index during PWA", 12684)),
    *_measured("pulse wave", "mmHg min/L", ("Total peripheral resistance during PWA", 12685)),
    *_measured("pulse wave", "mL", ("Stroke volume during PWA", 12686)),
    *_measured("pulse wave", "mmHg", ("Mean arterial pressure during PWA", 12687)),
    *_measured("pulse wave", "L/min/m2", ("Cardiac index during PWA", 12702)),
    _question("sleep", "Sleep duration", 1160, "h/day"),
    _question("smoking", "Exposure to tobacco smoke at home", 1269, "h/week", unasked=7, high=50),
    _question("smoking", "Exposure to tobacco smoke outside home", 1279, "h/week", unasked=7, high=50),
    Field("Pack years of smoking", (20161,), unit="years", tags=("smoking",), unasked=0),
    Field("Pack years as proportion of life span exposed to smoking", (20162,), tags=("smoking",), unasked=0),
    *_measured(HEART, "mL", ("LVEDV", 24100), ("LVESV", 24101), ("LVSV", 24102)),
    *_measured(HEART, "%", ("LVEF", 24103)),
    *_measured(HEART, "L/min", ("LVCO", 24104)),
    *_measured(HEART, "g", ("LVM", 24105)),
    *_measured(HEART, "mL", ("RVEDV", 24106), ("RVESV", 24107), ("RVSV", 24108)),
    *_measured(HEART, "%", ("RVEF", 24109)),
]

YES_OR_NO = [
    _choice("anxiety", "Worrier / anxious feelings", 1980, YES_NO),
    _choice("health", "Shortness of breath walking on level ground", 4717, YES_NO),
    _choice("body", "Sex", 31, _numbered(0, "female", "male")),
    _reported("Diabetes diagnosed by doctor", (2443,), 1, 2976),
    _reported("Heart attack diagnosed by doctor", (6150,), 1, 3894, 42000, 42002, 42004),
    _reported("Angina diagnosed by doctor", (6150,), 2, 3627),
    _reported("Stroke diagnosed by doctor", (6150,), 3, 4056, 42006, 42008, 42010, 42012),
    _reported("High blood pressure diagnosed by doctor", (6150,), 4, 2966),
    _reported("Cholesterol lowering medication", MEDICINES, 1, theme="medication"),
    _reported("Blood pressure medication", MEDICINES, 2, theme="medication"),
    _reported("Insulin", MEDICINES, 3, theme="medication"),
    _reported("Hormone replacement therapy", MEDICINES, 4, theme="medication"),
    _reported("Oral contraceptive pill or minipill", MEDICINES, 5, theme="medication"),
    _choice("diagnoses", "Pace-maker", 3079, YES_NO),
    _choice("diagnoses", "Ever had diabetes (type I or type II)", 120007, YES_NO),
    _choice("health", "Long-standing illness, disability or infirmity", 2188, YES_NO),
    _choice("anxiety", "Tense / highly strung", 1990, YES_NO),
    _choice("smoking", "Ever smoked", 20160, YES_NO),
]

CHOICES = [
    _choice("sleep", "Sleeplessness / insomnia", 1200, _numbered(1, "never or rarely", "sometimes", "usually")),
    _choice("activity", "Frequency of heavy DIY in last 4 weeks", 2624, TIMES, unasked=0),
    _choice("alcohol", "Alcohol intake frequency", 1558, _numbered(1, *DRINKS)),
    _choice("diet", "Processed meat intake", 1349, MEAT),
    _choice("diet", "Beef intake", 1369, MEAT),
    _choice("diet", "Pork intake", 1389, MEAT),
    _choice("diet", "Lamb/mutton intake", 1379, MEAT),
    _choice("health", "Overall health rating", 2178, _numbered(1, "excellent", "good", "fair", "poor")),
    _choice("alcohol", "Alcohol usually taken with meals", 1618, {0: "no", 1: "yes", -6: "it varies"}, unasked=0),
    _choice("alcohol", "Alcohol drinker status", 20117, EVER),
    _choice(
        "alcohol",
        "Frequency of drinking alcohol",
        20414,
        _numbered(0, "never", "monthly or less", "2-4 times a month", "2-3 times a week", "4 or more times a week"),
    ),
    _choice(
        "alcohol",
        "Frequency of consuming six or more units of alcohol",
        20416,
        _numbered(1, "never", "less than monthly", "monthly", "weekly", "daily or almost daily"),
    ),
    _choice(
        "alcohol",
        "Amount of alcohol drunk on a typical drinking day",
        20403,
        _numbered(1, "1 or 2", "3 or 4", "5 or 6", "7 to 9", "10 or more"),
    ),
    _choice("health", "Falls in the last year", 2296, _numbered(1, "none", "one", "more than one")),
    _choice(
        "body",
        "Weight change compared with 1 year ago",
        2306,
        {0: "about the same", 2: "gained weight", 3: "lost weight"},
    ),
    _choice("activity", "Days per week walked 10+ minutes", 864, DAYS, -2),
    _choice("activity", "Days per week of moderate activity 10+ minutes", 884, DAYS),
    _choice("activity", "Days per week of vigorous activity 10+ minutes", 904, DAYS),
    _choice("activity", "Usual walking pace", 924, _numbered(1, "slow", "steady average", "brisk"), -7),
    _choice("activity", "Frequency of stair climbing in last 4 weeks", 943, _numbered(0, *STAIRS), unasked=0),
    _choice("activity", "Frequency of walking for pleasure in last 4 weeks", 971, TIMES, unasked=0),
    _choice("activity", "Duration walking for pleasure", 981, LONG, unasked=0),
    _choice("activity", "Frequency of strenuous sports in last 4 weeks", 991, TIMES, unasked=0),
    _choice("activity", "Duration of strenuous sports", 1001, LONG, unasked=0),
    _choice("activity", "Duration of light DIY", 1021, LONG, unasked=0),
    _choice("activity", "Duration of heavy DIY", 2634, LONG, unasked=0),
    _choice("activity", "Frequency of other exercises in last 4 weeks", 3637, TIMES, unasked=0),
    _choice("activity", "Duration of other exercises", 3647, LONG, unasked=0),
    _choice("smoking", "Current tobacco smoking", 1239, {0: "no", 1: "on most or all days", 2: "only occasionally"}),
    _choice(
        "smoking",
        "Past tobacco smoking",
        1249,
        _numbered(1, "on most or all days", "occasionally", "just tried once or twice", "never"),
        unasked=1,
    ),
    _choice("smoking", "Smokers in household", 1259, _numbered(0, "none", "one", "more than one"), unasked=1),
    _choice("smoking", "Smoking status", 20116, EVER),
]

FIELDS: tuple[Field, ...] = (*NUMBERS, *YES_OR_NO, *CHOICES)
