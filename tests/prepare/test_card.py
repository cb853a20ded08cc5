"""The data card and the terminal summary: complete, escaped, self-contained, and usable at any size."""

import base64
import html
import io
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from rich.console import Console

from mmcl_jax.page.style import STYLE
from mmcl_jax.page.wording import clipped
from mmcl_jax.prepare.card.findings import ColumnFinding, Findings
from mmcl_jax.prepare.card.images import data_uri
from mmcl_jax.prepare.card.page import render_card
from mmcl_jax.prepare.card.summary import show
from mmcl_jax.text import visible

VOID = {"img", "meta", "br"}


class Page(HTMLParser):
    """A page read back: fails on tags that do not match, and keeps texts, attributes and the tags met."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        assert len({name for name, _ in attrs}) == len(attrs), f"an attribute of {tag} is given twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


def card(findings: Findings, *, title: str = "Cars", images=(), quarantine=()) -> str:
    return render_card(findings, title=title, images=images, quarantine=quarantine)


def printed(findings: Findings, width: int = 80) -> str:
    file = io.StringIO()
    show(findings, Console(file=file, width=width))
    return file.getvalue()


def continuous(name: str, **more: object) -> ColumnFinding:
    numbers = {"min": 12.5, "max": 99.0, "mean": 40.0, "sd": 9.0, "median": 38.0}
    fields = {
        "role": "feature",
        "kind": "continuous",
        "distinct": 90,
        "numbers": numbers,
        "histogram": {"edges": [12.5, 40.0, 70.0, 99.0], "counts": [50, 40, 8]},
    }
    return ColumnFinding(name=name, **{**fields, **more})


def cars(**more: object) -> Findings:
    """A hundred rows with every kind of column, of which 98 were kept."""
    columns = [
        ColumnFinding(name="ad", role="identifier", why="Different in every row.", distinct=98),
        continuous("price", missing=8, missing_words={"POA": 6, "": 2}, outside={"test": 3}),
        continuous("sold", kind="date", numbers={"min": 0.0, "max": 365.0, "mean": 100.0, "sd": 9.0, "median": 99.0}),
        ColumnFinding(
            name="fuel",
            role="feature",
            kind="categorical",
            distinct=3,
            missing=18,
            top=[("petrol", 40), ("diesel", 30), ("gas", 10)],
            unseen={"val": 1},
        ),
        ColumnFinding(name="model", role="label", kind="categorical", distinct=2),
        continuous("worth", role="label"),
        ColumnFinding(name="notes", role="ignore", why="Free text."),
        ColumnFinding(name="currency", role="ignore", why="Every row says GBP."),
    ]
    fields = {
        "source": "ads.csv",
        "rows": 100,
        "kept": 98,
        "lost": {"broken image": 2},
        "steps": [{"what": "One photograph per car", "before": 140, "after": 100}],
        "columns": columns,
        "splits": {"train": 70, "val": 10, "test": 18},
        "subsets": {"train_10": 7},
        "labels": {"model": {s: {"M1": n, "M2": n} for s, n in (("train", 35), ("val", 5), ("test", 9))}},
        "images": {"files": 98, "stored": "8 x 8 x 3", "sizes": [["300 x 300", 90], ["299 x 300", 8]]},
        "warnings": ["Column 'price' gives the label away.", "Twins lie in two splits."],
        "near_duplicates": [{"first": "a1", "second": "b2", "splits": ["train", "test"], "difference": 0.01}],
        "forest": {
            "model": {
                "metric": "top-1",
                "value": 0.98,
                "chance": 0.5,
                "balanced_accuracy": 0.97,
                "train_rows": 70,
                "test_rows": 18,
                "importance": [["price", 0.7], ["fuel", 0.3]],
            }
        },
    }
    return Findings(**{**fields, **more})


def quarantine(rows: int) -> list[dict[str, object]]:
    return [
        {"row": row, "image": f"{row}.jpg", "cause": "broken image", "reason": f"{row}.jpg is <cut> & 'short'."}
        for row in range(1, rows + 1)
    ]


@pytest.mark.core
def test_whatever_the_data_says_stays_text() -> None:
    met: list[str] = []

    def bad(what: str) -> str:
        met.append(f"\"><script>{what}'s &amp;\x1b[1m\u202e[red]</script>")
        return met[-1]

    feature = ColumnFinding(
        name=bad("feature"),
        role="feature",
        kind="categorical",
        why=bad("why"),
        distinct=2,
        missing=1,
        missing_words={bad("word"): 1},
        top=[(bad("top"), 5), ("b", 4)],
        unseen={bad("unseen"): 1},
        outside={bad("outside"): 1},
    )
    findings = Findings(
        source=bad("source"),
        rows=10,
        kept=9,
        lost={bad("cause"): 1},
        steps=[{"what": bad("step"), "before": 12, "after": 10}],
        columns=[
            feature,
            continuous(bad("number")),
            ColumnFinding(name=bad("label"), role="label", kind="boolean", why=bad("because")),
            ColumnFinding(name=bad("ignored"), role="ignore", why=bad("reason")),
        ],
        splits={bad("split"): 9},
        subsets={bad("subset"): 3},
        labels={bad("classes"): {bad("part"): {bad("class"): 9}}},
        images={bad("fact"): bad("value"), "stored": bad("stored"), "sizes": [[bad("size"), 9]]},
        warnings=[bad("warning")],
        near_duplicates=[
            {"first": bad("twin"), "second": bad("other"), "splits": [bad("in")], "difference": bad("gap")}
        ],
        forest={bad("target"): {"metric": bad("metric"), "value": 0.5, "importance": [[bad("leaf"), 0.1]]}},
    )
    lost = [{"row": 1, "image": bad("image"), "cause": bad("lost"), "reason": bad("broken")}]
    image = (bad("caption"), np.zeros((4, 4, 3), np.uint8))
    raw = card(findings, title=bad("title"), images=[image], quarantine=lost)
    page = Page(raw)
    assert "script" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    for text in met:
        assert visible(text) in page.text or clipped(text, 40) in page.text, text
    assert any(visible(met[-2]) in value for value in page.values("alt"))  # the caption, where it describes
    assert not set("\x1b\u202e") & set(raw)
    assert not set("\x1b\u202e") & set(printed(findings))
    assert "[red]" in printed(findings)  # names are no mark-up of the terminal either


def test_nothing_is_fetched_and_nothing_runs() -> None:
    images = [("one", np.zeros((200, 300, 3), np.uint8))]
    page = Page(card(cars(), images=images, quarantine=quarantine(3)))
    assert {value.split(":")[0] for value in page.values("src")} == {"data"}
    assert all(value.startswith("#") for value in page.values("href"))
    assert set(page.values("href")) <= {f"#{key}" for key in page.values("id")}
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert "default-src 'none'" in " ".join(page.values("content"))
    assert not re.search(r"url\(|@import|http", STYLE)
    assert "http" not in card(cars()).replace("http-equiv", "")


def test_every_finding_is_on_the_page() -> None:
    page = Page(card(cars(), quarantine=quarantine(2)))
    text = page.text
    for column in cars().columns:
        assert column.name in text
    said = ["ads.csv", "98.0 %", "One photograph per car", "140", "−40", "broken image", "“POA” × 6, empty cell × 2"]
    said += ["3 rows of test: a number outside of train's range.", "1 row of val: a category that train does not have."]
    said += ["50 %", "38 %", "12 %", "12.5", "median 38 · mean 40 · sd 9", "1970-01-01", "1971-01-01", "sd 9 days"]
    said += ["Free text.", "Every row says GBP.", "train_10", "8 x 8 x 3", "300 x 300", "a1", "b2", "train, test"]
    said += [
        "98.0 %",
        "top-1; chance 50.0 %; balanced accuracy 97.0 %",
        "The table gives this label away.",
        *cars().warnings,
    ]
    said += [str(entry["reason"]) for entry in quarantine(2)]
    assert [phrase for phrase in said if phrase not in text] == []
    assert text.index(cars().warnings[0]) < text.index(cars().warnings[1])


def test_the_page_can_be_read_aloud() -> None:
    images = [("front", np.zeros((4, 4, 3), np.uint8))]
    raw = card(cars(), images=images, quarantine=quarantine(2))
    page = Page(raw)
    heads = re.findall(r"<th[ >][^>]*", raw)
    assert heads
    assert all('scope="' in head for head in heads)
    assert raw.count("<table>") == raw.count("<caption")
    assert raw.count("<img ") == raw.count(" alt=") == 2  # at the head, decoration; on the contact sheet, described
    assert "Image of front" in page.values("alt")
    for drawing in re.findall(r"<svg.*?</svg>", raw):
        assert 'aria-hidden="true"' in drawing or ('role="img"' in drawing and "<title>" in drawing)
    assert ("html", "lang", "en") in page.attributes


def test_contrast() -> None:
    """WCAG 2: 4.5 for text and 3 for graphics, in light and in dark."""

    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        darker, lighter = sorted((luminance(one), luminance(other)))
        return (lighter + 0.05) / (darker + 0.05)

    schemes = [dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in STYLE.split("@media")[:2]]
    for colours in schemes:
        for text, ground in [(t, g) for t in ("ink", "soft", "accent") for g in ("paper", "wash")]:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for text, ground in [("alarm", "paper"), ("alarm", "alarm-wash"), ("ink", "alarm-wash")]:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for graphic in ("bin", "gap", *(f"s{place}" for place in range(8))):
            assert contrast(colours[graphic], colours["paper"]) >= 3, graphic


def test_same_findings_same_page(tmp_path: Path) -> None:
    (tmp_path / "findings.json").write_text(cars().to_json())
    read = Findings.read(tmp_path / "findings.json")
    assert card(cars()) == card(read)
    assert printed(cars()) == printed(read)


def test_findings_of_older_stores_are_read(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    path.write_text(cars().to_json().replace('"near_duplicates"', '"twins"'))
    assert Findings.read(path).to_json() == cars().to_json()


def test_quarantine_lists_fifty_and_counts_the_rest() -> None:
    raw = card(cars(), quarantine=quarantine(53))
    reasons = [html.escape(str(entry["reason"])) for entry in quarantine(53)]
    assert [reason in raw for reason in reasons] == [True] * 50 + [False] * 3
    assert "3 more rows are in" in Page(raw).text
    assert "in quarantine, each" not in card(cars(), quarantine=[])


def test_rows_that_no_cause_explains_are_said() -> None:
    findings = cars(kept=90)
    assert "no cause recorded" in card(findings)
    assert "no cause recorded 8" in printed(findings)


def test_five_thousand_columns() -> None:
    columns = [continuous(f"probe_{place}", missing=place % 2) for place in range(5000)]
    begun = time.perf_counter()
    raw = card(cars(columns=columns))
    taken = time.perf_counter() - begun
    assert len(raw.encode()) < 5e6
    assert taken < 5
    page = Page(raw)
    assert all(f"probe_{place}" in raw for place in (0, 59, 60, 4999))
    assert sum("histogram" in value for value in page.values("class")) == 60
    assert "4,940 more columns, without charts" in page.text
    lines = printed(cars(columns=columns))
    assert "probe_39" in lines
    assert "probe_40" not in lines
    assert "and 4,960 more: 4,960 continuous; 2,480 of them with missing values." in lines


@pytest.mark.parametrize("role", ["feature", "ignore"])
def test_the_page_of_twenty_thousand_columns_is_below_a_megabyte(role: str) -> None:
    columns = [continuous(f"probe_{place}", role=role, why="It is declared so.") for place in range(20_000)]
    warnings = [f"Column 'probe_{place}' is left out." for place in range(20_000)]
    raw = card(cars(columns=columns, warnings=warnings))
    assert len(raw.encode()) < 1e6
    text = Page(raw).text
    assert "and 19,800 more warnings, described in" in text
    if role == "feature":
        assert "18,940 more columns, described in findings.json" in text
        assert f"probe_{19_999}" in text  # by name
    else:
        assert "and 19,000 more columns, described in" in text
    assert "and 19,900 more, in findings.json" in printed(cars(columns=columns, warnings=warnings))


def test_many_columns_left_out_are_grouped() -> None:
    columns = [ColumnFinding(name=f"gene{place}", role="ignore", why="Constant.") for place in range(500)]
    lines = printed(cars(columns=columns))
    assert lines.count("Constant.") == 1
    assert "gene59, and 440 more" in " ".join(lines.split())
    page = Page(card(cars(columns=columns)))
    assert [f"gene{place}" for place in range(500) if f"gene{place}" not in page.texts] == []


def test_many_classes_are_summarised() -> None:
    train = {f"class {place:03}": place + 1 for place in range(286)}
    balance = {"model": {"train": train, "test": {"class 285": 4}}}
    text = Page(card(cars(labels=balance))).text
    assert "The 20 most frequent of 286 classes" in text
    assert "Of 286 classes" in text
    assert "143.5" in text  # the median of 1 to 286
    assert "class 285" in text
    assert "class 100" not in text
    lines = printed(cars(labels=balance))
    assert "train: 1 to 286 rows each, median 143.5" in lines
    assert "285 classes are absent" in " ".join(lines.split())


def test_bare_findings() -> None:
    raw = card(Findings(source="t.csv", rows=3, kept=3))
    text = Page(raw).text
    assert "No warning was raised" in text
    assert "There is no label" in text
    assert "All 3 rows of t.csv were kept." in text
    assert "#forest" not in raw
    lines = printed(Findings(source="t.csv", rows=3, kept=3))
    assert "No warnings." in lines
    assert "Labels: none." in lines


@pytest.mark.parametrize("kind", ["continuous", "date"])
@pytest.mark.parametrize(
    ("numbers", "edges", "counts"),
    [
        ({}, [], []),
        ({"min": 5.0, "max": 5.0, "mean": 5.0}, [5.0, 5.0], [98]),
        ({"min": float("nan"), "max": float("inf")}, [0.0, float("inf")], [1]),
        ({"min": -1e300, "max": 1e300, "median": 0.0}, [-1e300, 0.0, 1e300], [49, 49]),
    ],
)
def test_odd_numbers(kind: str, numbers: dict, edges: list, counts: list) -> None:
    histogram = {"edges": edges, "counts": counts}
    findings = cars(columns=[continuous("odd", kind=kind, numbers=numbers, histogram=histogram)])
    page = Page(card(findings))
    assert not [value for tag, _, value in page.attributes if tag in ("rect", "line") and re.search("nan|inf", value)]
    assert "odd" in printed(findings)


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3), (7, 3)])
def test_small_images_keep_their_pixels(channels: int, shown: int) -> None:
    pixels = np.random.default_rng(channels).integers(0, 256, (9, 14, channels), np.uint8)
    page = Page(card(cars(), images=[("<p>", pixels)]))
    for address in page.values("src"):
        assert address.startswith("data:image/png;base64,")
        decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))
        np.testing.assert_array_equal(decoded.reshape(9, 14, -1), pixels[..., :shown])


def test_large_images_are_small_files() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1000, 3), np.uint8)
    address = data_uri(noise)
    decoded = Image.open(io.BytesIO(base64.b64decode(address.split(",")[1])))
    assert max(decoded.size) <= 320
    assert abs(decoded.height / decoded.width - 1.5) < 0.01
    assert len(address) < 200_000


@pytest.mark.parametrize("width", [60, 80, 200])
def test_summary_fits_its_width_and_names_what_was_left_out(width: int) -> None:
    long = cars()
    long.columns.append(ColumnFinding(name="x" * 300, role="ignore", why="y" * 100))
    long.columns.append(continuous("数据" * 30))
    long.warnings.append("z" * 200)
    lines = printed(long, width).splitlines()
    assert max(map(cell_len, lines)) <= width
    text = "".join(line.strip() for line in lines)
    for name in ("ad", "notes", "currency", "x" * 300, "y" * 100, "z" * 200):
        assert name in text
    assert "\x1b" not in text  # no colours in a file


def test_summary_says_the_values() -> None:
    lines = printed(cars(), 100)
    assert re.search(r"price +continuous +8\.2 % +12\.5 … 99 \(mean 40\)", lines)
    assert re.search(r"fuel .* 18 % +3 categories: petrol 50 %, diesel 38 %, gas 12 %", lines)
    assert re.search(r"sold +date +– +1970-01-01 … 1971-01-01", lines)
    assert "Lost: broken image 2." in lines
    assert "price (test 3 out of range), fuel (val 1 unseen)" in lines
    assert "train: 'M1' 50 %, 'M2' 50 %" in lines
    assert "model: top-1 98.0 % (chance 50.0 %): results with table input mean little" in lines
    assert lines.index("1. Column 'price'") < lines.index("2. Twins lie")


def test_names_that_differ_at_the_end_stay_apart() -> None:
    first, second = f"{'long ' * 40}left", f"{'long ' * 40}right"
    assert clipped(first) != clipped(second)
    assert len(clipped(first)) == 80
    assert visible("a\nb\x00\ud800") == r"a\nb\x00\ud800"
    assert visible("naïve 数据 👩‍👧") == "naïve 数据 👩‍👧"
