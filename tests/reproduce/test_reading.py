"""Differences by seed, what is concluded from them, and how it is shown, on made-up scores."""

import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from mmcl_jax.reproduce.charts import ends, marks
from mmcl_jax.reproduce.grid import GridCell, Sample, contrast, spread
from mmcl_jax.reproduce.page import render_page
from mmcl_jax.reproduce.reading import ABSENT, HOLDS, OPPOSITE, PARTLY, UNDECIDED, above_reference, judge
from mmcl_jax.reproduce.spec import Contrast
from mmcl_jax.reproduce.tables import TABLES
from mmcl_jax.reproduce.text import render_text

HIGH, LOW, NOISY = [0.9, 0.91, 0.92], [0.7, 0.712, 0.721], [0.5, 0.92, 0.99]
TABLE1 = TABLES["mmcl/table1"]
IMAGE_ONLY = ("simclr", "byol", "simsiam", "barlow_twins")


def verdicts(outcome) -> list[str]:
    return [claim.verdict for claim in judge(outcome)]


def frozen(mmcl, others, **more):
    return {"mmcl": {"frozen": mmcl}, **{key: {"frozen": others} for key in IMAGE_ONLY}, **more}


def test_the_interval_is_that_of_a_t_test() -> None:
    values = np.random.default_rng(0).normal(1, 1, 5)
    one, expected = spread(values), ttest_1samp(values, 0).confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((expected.low, expected.high))
    assert one.above == (values > 0).sum()


def test_contrasts_are_paired_by_the_seeds_that_all_have() -> None:
    cells = {("a", "x"): GridCell({0: 3.0, 1: 5.0, 2: 9.0}), ("b", "x"): GridCell({1: 4.0, 0: 1.0})}
    one = contrast(cells, Contrast("a − b", (("a", "x", 1.0), ("b", "x", -1.0))), Sample(100, 100))
    assert one is not None
    assert (one.mean, one.seeds, one.above) == (1.5, 2, 2)
    assert contrast(cells, Contrast("a − c", (("a", "x", 1.0), ("c", "x", -1.0))), Sample(100, 100)) is None
    nearly = contrast(cells, Contrast("a − b + 3", (("a", "x", 1.0), ("b", "x", -1.0)), margin=3.0), Sample(100, 100))
    assert nearly is not None
    assert (nearly.mean, nearly.above) == (4.5, 2)


def test_the_three_verdicts(made_up) -> None:
    assert verdicts(made_up(TABLE1, frozen(HIGH, LOW))) == [HOLDS, ABSENT, ABSENT, ABSENT]
    assert verdicts(made_up(TABLE1, frozen(LOW, HIGH)))[0] == OPPOSITE
    assert verdicts(made_up(TABLE1, frozen(HIGH, NOISY)))[0] == UNDECIDED
    # One baseline that is above settles it; one that is not settled leaves the claim open.
    assert verdicts(made_up(TABLE1, frozen(HIGH, LOW, byol={"frozen": [0.99, 0.995, 1.0]})))[0] == OPPOSITE
    assert verdicts(made_up(TABLE1, frozen(HIGH, LOW, byol={"frozen": NOISY})))[0] == UNDECIDED


def test_a_claim_on_all_does_not_hold_where_some_are_missing(made_up) -> None:
    outcome = made_up(TABLE1, {"mmcl": {"frozen": HIGH}, "simclr": {"frozen": LOW}})
    claim = judge(outcome)[0]
    assert claim.verdict == PARTLY
    assert "not asked for: MMCL − BYOL, MMCL − SimSiam, MMCL − Barlow Twins" in claim.sentence


def test_one_seed_claims_nothing(made_up) -> None:
    outcome = made_up(TABLE1, frozen(HIGH[:1], LOW[:1]))
    assert verdicts(outcome)[0] == UNDECIDED
    text = render_text(outcome)
    assert "one pretraining seed, so there is no spread and no interval" in text
    assert "MMCL − SimCLR: +20.00, above 0 at 1 of 1 seed" in text


def test_a_method_that_diverged_decides_nothing(made_up) -> None:
    outcome = made_up(TABLE1, frozen(HIGH, LOW, byol={"frozen": [math.nan, 0.7, 0.7]}))
    assert verdicts(outcome)[0] == UNDECIDED
    assert "diverged" in render_text(outcome)
    assert "diverged" in render_page(outcome, "")


def test_what_is_above_the_reference_is_named(made_up) -> None:
    values = frozen(LOW, [0.6, 0.61, 0.62], pixels={"frozen": HIGH}, siglip={"frozen": [0.71, 0.6, 0.83]})
    sentences = above_reference(made_up(TABLE1, values))
    assert [sentence.split(",")[0] for sentence in sentences] == [
        ["Frozen: MMCL", " sigmoid loss is above MMCL"][0],
        "Frozen: Pixels is above MMCL",
    ]
    assert "which seeds and test rows do not settle" in sentences[0]
    assert "which" not in sentences[1]


def test_morphometric_columns_keep_most_of_the_gain_or_not(made_up) -> None:
    table, base = TABLES["mmcl/table2"], {"mmcl": {"frozen": HIGH}, "simclr": {"frozen": LOW}}
    for values, expected in (([0.88, 0.89, 0.9], HOLDS), ([0.72, 0.732, 0.74], OPPOSITE)):
        assert verdicts(made_up(table, {**base, "mmcl_morphometric": {"frozen": values}}))[1] == expected


def test_no_gain_no_most_of_the_gain(made_up) -> None:
    values = {"mmcl": [0.71, 0.7, 0.73], "simclr": LOW, "mmcl_morphometric": HIGH}
    outcome = made_up(TABLES["mmcl/table2"], {key: {"frozen": one} for key, one in values.items()})
    assert verdicts(outcome)[1] == UNDECIDED


def test_the_advantage_with_few_labels(made_up) -> None:
    table = TABLES["mmcl/figure2"]
    many = {f"frozen{end}": HIGH for end in ("", "-10", "-1")}
    grown = {"mmcl": many, **{key: {**many, "frozen-1": LOW} for key in IMAGE_ONLY}}
    assert verdicts(made_up(table, grown))[0] == HOLDS
    shrunk = {"mmcl": many, **{key: {**many, "frozen": LOW} for key in IMAGE_ONLY}}
    assert verdicts(made_up(table, shrunk))[0] == OPPOSITE


def test_published_numbers_stand_beside_ours(made_up) -> None:
    text = render_text(made_up(TABLE1, frozen(HIGH, LOW)))
    line = next(line for line in text.splitlines() if line.startswith("| MMCL "))
    assert [cell.strip() for cell in line.split("|")[1:5]] == ["MMCL", "91.00 ± 1.00", "91.43 ± 0.13", "–"]
    assert "published, DVM-CAR" in text
    assert "those of DVM-CAR stand beside ours for orientation" in text
    assert "orientation" not in render_text(made_up(TABLE1, frozen(HIGH, LOW), variant="dvm"))


@pytest.mark.parametrize(("label", "number"), [("cad", "74.45 ± 0.09"), ("infarction", "76.35 ± 0.19")])
def test_the_published_numbers_are_those_of_the_target(made_up, label: str, number: str) -> None:
    values = {"mmcl": {"frozen": HIGH}, "supcon": {"frozen": LOW}}
    text = render_text(made_up(TABLES["mmcl/table3"], values, variant="cardiac", label=label))
    assert number in text
    assert "did not converge" in text


def test_the_page_is_whole_and_escapes(made_up) -> None:
    page = render_page(made_up(TABLE1, frozen(HIGH, LOW), variant="dvm"), "mmcl reproduce <x>")
    assert "Made &lt;up&gt;" in page
    assert "Made <up>" not in page
    assert "mmcl reproduce &lt;x&gt;" in page
    assert page.count('class="tick"') == 5 * 3
    assert page.count('class="paper-mean"') == 5
    assert "http://" not in page
    assert "<script" not in page


def test_the_page_of_few_labels_has_a_curve_per_method(made_up) -> None:
    many = {f"{kind}{end}": HIGH for kind in ("frozen", "trainable") for end in ("", "-10", "-1")}
    page = render_page(made_up(TABLES["mmcl/figure2"], {"mmcl": many, "simclr": many}), "")
    assert page.count("<polyline") == 2 * 2
    for share in ("100 %", "10 %", "1 %"):
        assert f">{share}</text>" in page


def test_axes_are_round_and_hold_all_values() -> None:
    for values in ([91.2, 93.0], [50.0], [0.0, 100.0], [66.06, 66.07]):
        low, high = ends(values)
        assert low < min(values) <= max(values) < high
        inner = marks(low, high)
        assert 2 <= len(inner) <= 12
        assert low <= inner[0] < inner[-1] <= high


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_decide_nothing(made_up, seeds: int) -> None:
    """Seeds that all give the same: the interval over seeds has no width."""
    outcome = made_up(TABLE1, frozen([0.95] * seeds, [0.01] * seeds), test_rows=99)
    assert verdicts(outcome)[0] == UNDECIDED
    assert "with fewer than 3 seeds" in render_text(outcome)


@pytest.mark.parametrize(("rows", "verdict"), [(99, UNDECIDED), (1_000, HOLDS)])
def test_seeds_that_agree_are_not_sure_of_other_test_rows(made_up, rows: int, verdict: str) -> None:
    outcome = made_up(TABLE1, frozen([0.89] * 4, [0.81] * 4), test_rows=rows)
    claim = judge(outcome)[0]
    assert claim.verdict == verdict
    assert all(one.low < one.mean < one.high for _, one in claim.differences)


def test_an_interval_is_never_narrower_than_that_over_seeds_or_that_over_rows() -> None:
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 5, 20):
        values = rng.normal(1, 1, seeds).tolist()
        alone, rows = spread(values), spread([1.0] * seeds, 0.3)
        both = spread(values, 0.3)
        assert both.high - both.low >= max(alone.high - alone.low, rows.high - rows.low)
        assert rows.high - rows.low == pytest.approx(2 * 1.96 * math.sqrt(0.3), rel=1e-3)


def hits(rng: np.random.Generator, share: float, rows: int) -> np.ndarray:
    return (rng.uniform(size=rows) < share).astype(np.float64)


DIFFERENCE = Contrast("a − b", (("a", "x", 1.0), ("b", "x", -1.0)))


@pytest.mark.parametrize("paired", [False, True])
def test_intervals_hold_the_difference_of_all_rows_as_often_as_they_say(paired: bool) -> None:
    """Two methods on samples of rows: each is right on easy rows, and by chance of its seed on hard ones."""
    rng = np.random.default_rng(1)
    inside, trials, rows = 0, 300, 150
    for _ in range(trials):
        easy = hits(rng, 0.6, rows)
        cells = []
        for right in (0.5, 0.4):  # on the rows that are not easy: the methods differ by 4 points
            known = {seed: 100 * np.maximum(easy, hits(rng, right, rows)) for seed in range(4)}
            cells.append(GridCell({seed: float(one.mean()) for seed, one in known.items()}, known if paired else {}))
        one = contrast({("a", "x"): cells[0], ("b", "x"): cells[1]}, DIFFERENCE, Sample(rows, rows))
        assert one is not None
        inside += one.low <= 4 <= one.high
    assert inside / trials >= 0.95


@pytest.mark.parametrize("with_rows", [False, True])
@pytest.mark.parametrize("percent", [0.0, 100.0])
def test_no_interval_has_the_width_zero(percent: float, with_rows: bool) -> None:
    """All rows come out the same with every seed."""
    cells = {
        (name, "x"): GridCell(
            dict.fromkeys(range(3), value), dict.fromkeys(range(3), np.full(50, value)) if with_rows else {}
        )
        for name, value in (("a", percent), ("b", 0.0))
    }
    one = contrast(cells, DIFFERENCE, Sample(50, 50))
    assert one is not None
    assert one.low < one.mean < one.high


def test_the_tile_counts_what_the_badges_say(made_up) -> None:
    everything = made_up(TABLE1, frozen(HIGH, LOW))
    some = made_up(TABLE1, {"mmcl": {"frozen": HIGH}, "simclr": {"frozen": LOW}})
    for outcome, more in ((everything, "0 opposite"), (some, "1 for the methods here, 0 opposite")):
        page = render_page(outcome, "")
        assert page.count('class="badge yes">holds') == 1
        assert f"<b>1 of 4</b><small>{more}</small>" in page.replace("\n", "")
