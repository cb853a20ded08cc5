"""Sections, sentences and remarks of reports in the forms that hospitals and other languages write."""

import time

import pytest

from mmcl_jax.prepare.reports.read import report_of
from mmcl_jax.prepare.reports.remarks import remarks
from mmcl_jax.prepare.reports.sections import sections
from mmcl_jax.prepare.reports.sentences import split_sentences
from mmcl_jax.prepare.sources import Source

pytestmark = pytest.mark.core

# " | " stands between the sentences.
SPLIT = """
The heart measures 1.5 cm. | No effusion.
Dr. Smith was notified. | He agreed with Dr. J. Smith.
1. Small left effusion. | 2. Cardiomegaly is mild.
(1) Mild edema. | (2) No effusion.
Compared to prior from ___. | The lungs are clear.
Findings discussed with Dr. ___ by phone at 3:15 p.m. on Monday.
Seen at 3 p.m. | The patient left.
___-year-old woman with cough. | Mr. ___ called at 10:15.
Approx. 5 mm nodule vs. granuloma. | No pneumothorax.
The nodule is 3 cm. | no change since then.
the heart is normal. | lungs are clear. | no effusion
Nodule is 1. 5 cm wide.
Is there edema? | No! | None.
See Fig. 3. | It shows rib no. 5 and no. ___.
Vitamin D. | The dose is low.
Lungs clear. | Heart normal.
He said "stop." | She left (at once.) | The end
Die Lunge ist frei. | Z.B. kein Erguss. | Pat. mit Dyspnoe.
The tube ends e.g. in the U.S.A. or elsewhere. | Done...
心影不大。 | 双肺清晰！
यह ठीक है। | वह भी।
فحص طبيعي؟ | نعم۔
نمی‌خواهم
ไม่มีน้ำในเยื่อหุ้มปอด
word
"""

REPORT = """                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 COMPARISON:  ___

 IMPRESSION:

 Large left effusion

 FINDINGS:

 Cardiac size is normal.  Seen at
 10:15 by Dr.
 ___.
 1. One item
 over two lines.
 2. Second
 _____________
 Other: nothing.

 NOTIFICATION:  Discussed.
"""


@pytest.mark.parametrize("line", SPLIT.strip().splitlines())
def test_sentences_end_where_a_reader_ends_them(line: str) -> None:
    text = line.replace(" | ", "" if "。" in line else " ")
    assert split_sentences(text) == line.split(" | ")
    assert split_sentences(text.replace(" ", "\n\t "), newlines="join") == line.split(" | ")


def test_a_blank_that_is_missing_or_doubled_changes_no_sentence() -> None:
    assert split_sentences("Lungs clear.Heart  normal. \t No edema.") == ["Lungs clear.", "Heart normal.", "No edema."]
    assert split_sentences("see www.Rad.org or x.py, and Dr.Smith") == ["see www.Rad.org or x.py, and Dr.Smith"]


def test_lines_break_or_are_joined() -> None:
    text = "Red bicycle\nnew tyres\r\n\r\n- a bell\n- a lamp"
    assert split_sentences(text) == ["Red bicycle", "new tyres", "- a bell", "- a lamp"]
    assert split_sentences(text, newlines="join") == ["Red bicycle new tyres", "- a bell", "- a lamp"]


@pytest.mark.parametrize("text", ["", " \n\n\t", "...", "_____\n-----", "\x00\x01\u200b\ufeff", "\u2028"])
def test_a_text_that_says_nothing_has_no_sentence(text: str) -> None:
    assert split_sentences(text) == []


def test_control_and_invisible_characters_are_removed() -> None:
    assert split_sentences("He\u200bart\x07is\x0bnor\u00admal.\x85\ufeffNo edema.") == [
        "Heart is",
        "normal.",
        "No edema.",
    ]


@pytest.mark.parametrize("unit", ["No finding. ", "x", ".", ". ", "a.", "\n", " ", "1. ", "A:", "FINDINGS:\n"])
def test_time_grows_with_the_length_alone(unit: str) -> None:
    text, began = unit * 100_000, time.monotonic()
    found = split_sentences(text, newlines="join")
    sections(text)
    assert time.monotonic() - began < 20
    assert len(found) == 100_000 or unit != "No finding. "


def test_sections_are_found_by_their_headings_in_the_order_that_is_asked_for() -> None:
    source = Source(kind="text", sections=("FINDINGS", "IMPRESSION"))
    assert list(report_of(sections(REPORT) or "", source).sentences) == [
        "Cardiac size is normal.", "Seen at 10:15 by Dr. ___.", "1. One item over two lines.", "2. Second",
        "Other: nothing.", "Large left effusion",
    ]  # fmt: skip
    assert sections(REPORT, ("IMPRESSION",)) == "Large left effusion"


@pytest.mark.parametrize(
    ("text", "headings", "expected"),
    [
        ("FINDINGS AND IMPRESSION: Clear.", ("FINDINGS", "IMPRESSION"), "Clear."),
        ("FINDINGS/IMPRESSION:\nClear.", ("IMPRESSION",), "Clear."),
        ("IMPRESSION (PRELIMINARY) : Clear.\nWET READ: x", ("IMPRESSION",), "Clear."),
        ("FINDING: a\nFINDINGS: b", ("FINDINGS",), "a\n\nb"),
        ("BEFUND: Frei.\nBEURTEILUNG: Gut.", ("BEURTEILUNG", "BEFUND"), "Gut.\n\nFrei."),
        ("ÉTUDE: x\nRÉSULTAT: Normal.", ("RÉSULTAT",), "Normal."),
        ("检查：胸部\n所见：双肺清晰。\n印象：正常。", ("所见", "印象"), "双肺清晰。\n\n正常。"),
        ("Findings: a\nIMPRESSION: b", ("Findings",), "a"),
        ("Findings: a", ("FINDINGS",), None),
        ("FINDINGS:\n\nIMPRESSION:   ", ("FINDINGS", "IMPRESSION"), None),
        ("IMPRESSION: seen\nAT 10:15 by phone", ("IMPRESSION",), "seen\nAT 10:15 by phone"),
        ("IMPRESSION:1. No edema.\nFINDINGS:2 nodules", ("IMPRESSION", "FINDINGS"), "1. No edema.\n\n2 nodules"),
        ("INDICATION: Cough.\rFINDINGS: Clear.\u2028IMPRESSION: Normal.", ("FINDINGS",), "Clear."),
        ("No headings. FINDINGS are few.", ("FINDINGS",), None),
    ],
)
def test_headings(text: str, headings: tuple[str, ...], expected: str | None) -> None:
    assert sections(text, headings) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Compared to the prior study of ___, no change.", {"priors"}),
        ("The effusion is unchanged.", {"priors"}),
        ("Interval removal of the tube.", {"priors"}),
        ("There is a new left effusion.", {"priors"}),
        ("Cardiomegaly is stable.", {"priors"}),
        ("The edema has slightly improved.", {"priors"}),
        ("Effusion is seen on the lateral view.", {"lateral"}),
        ("PA and lateral views are compared with those from ___.", {"priors", "lateral"}),
        ("There is a small left pleural effusion.", set()),
        ("The lateral costophrenic angle is blunt.", set()),
        ("The heart is enlarged, and lung markings are increased.", set()),
        ("Renewed knowledge; newspaper.", set()),
    ],
)
def test_remarks_on_what_one_frontal_image_does_not_show(sentence: str, expected: set[str]) -> None:
    assert remarks(sentence) == expected


def test_short_and_remarking_sentences_are_counted_and_dropped_when_asked() -> None:
    text = "Clear. No edema. The effusion is unchanged. A 1.5 cm nodule lies left."
    counted = report_of(text, Source(kind="text", sections=("FINDINGS",)))
    assert (len(counted.sentences), counted.total, counted.short, counted.priors) == (4, 4, 0, 1)
    dropped = report_of(text, Source(kind="text", min_words=3, drop=("priors",)))
    assert dropped.sentences == ("No edema.", "A 1.5 cm nodule lies left.")
    assert (dropped.total, dropped.short, dropped.priors) == (4, 1, 1)
    assert report_of(text, Source(kind="text")).priors == 0
