"""The page of `mmcl report`: what it shows of real runs, what it says where something is missing, and in a browser."""

import html.parser
import itertools
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pytest

import mmcl_jax as mj
from mmcl_jax.api.commands.report import Report
from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.data.inputs import Inputs
from mmcl_jax.files import write_checksums
from mmcl_jax.training.loop import pretrain

EVIL = "<img src=//evil.example/x onerror=alert(1)>"
CLASSES = [f"{EVIL}a", "b & c", "'d\"</style>"]
SMALL = (
    "batch_size=16", "epochs=2", "schedule.warmup_epochs=0", "batch_norm.group_size=8", "log_every=1",
    "encoders.image.channels=(4, 8)", "projectors.image.hidden=8", "encoders.table.hidden=16",
    "encoders.table.features=8", "projectors.table.hidden=8", "monitor.epochs=None",
)  # fmt: skip
ROWS = 24


class Made(NamedTuple):
    """A folder with a store, a trained run with scores, heads and an explanation, and an untrained run."""

    root: Path
    store: mj.Store
    run: mj.Run
    untrained: mj.Run


def make_store(folder: Path, *, seed: int = 0) -> mj.Store:
    rng = np.random.default_rng(seed)
    codes = np.arange(90) % 3
    images = rng.integers(0, 90, (90, 16, 15, 1), np.uint8) + (60 * codes).astype(np.uint8)[:, None, None, None]
    table = pl.DataFrame({
        EVIL: rng.normal(codes, 0.3), "gearbox": rng.choice(["manual", f"auto{EVIL}"], 90),
        "price": rng.normal(9000, 100, 90), "model": [CLASSES[code] for code in codes],
    })  # fmt: skip
    return mj.prepare(table, images, label="model", out=folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("report")
    store = make_store(root / f"store {EVIL[:5]}")
    config = load("digits_mmcl", [f"data={store.directory}", *SMALL])
    run = pretrain(config, root / "runs" / "first", log=lambda line: None).run
    mj.evaluate(run, keep=True, learning_rates=1e-2, max_epochs=1, baselines="pixels")
    untrained = mj.Run.begin(root / "runs" / "untrained", config, store, Inputs.fit(config.inputs, store))
    return Made(root, store, run, untrained)


def explain(run: mj.Run) -> None:
    """Write an explanation as `mmcl explain` does, with names that want to be markup."""
    folder = run.directory / "explanations" / "integrated_gradients-table"
    folder.mkdir(parents=True)
    about = {
        "format": 1, "method": "integrated_gradients", "input": "table", "kind": "table", "of": "the embedding",
        "run": str(run.directory), "step": 1, "split": "test", "rows": 9, "store": "", "head": None, "settings": {},
        "columns": [
            {"name": EVIL, "group": "g1", "importance": 0.75, "share": 0.75, "rank": 1, "mean": None},
            {"name": "price", "group": "g2", "importance": 0.25, "share": 0.25, "rank": 2, "mean": None},
        ],
        "groups": [
            {"name": "g1", "colour": "#000", "columns": 1, "importance": 0.75, "share": 0.75},
            {"name": "g2", "colour": "#000", "columns": 1, "importance": 0.25, "share": 0.25},
        ],
        "pictures": [], "details": {}, "notes": [f"A note {EVIL}."], "made_by": {},
    }  # fmt: skip
    (folder / "explanation.json").write_text(json.dumps(about))
    write_checksums(folder, [folder / "explanation.json"])


@pytest.fixture(scope="module")
def page(made: Made) -> str:
    explain(made.run)
    written = mj.report(made.run, rows=ROWS, colour="price")
    assert written.path == made.run.directory / "report.html"
    assert written.scores == 2
    return written.path.read_text()


class Elements(html.parser.HTMLParser):
    """The elements of a page, with their attributes and the titles of pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))


def test_every_section_has_its_content(page: str) -> None:
    parts = dict(re.findall(r'<section[^>]*\bid="(\w+)"[^>]*>(.*?)</section>', page, re.DOTALL))
    assert list(parts) == [
        "results", "curves", "map", "retrieval", "predictions", "explained", "meters", "time", "data", "config"
    ]  # fmt: skip
    assert "Linear probe on images, test top-1 accuracy" in parts["results"]
    assert "pixels" in parts["results"]
    assert parts["curves"].count("<polyline") >= 4
    assert parts["map"].count("<circle") > 2 * 9
    assert "coloured by price" in parts["map"]
    assert parts["retrieval"].count("data:image/png;base64,") == 2 * 4 * 5  # both directions, a query and 4 near rows
    assert "own row: rank" in parts["retrieval"]
    assert "Confusion matrix" in parts["predictions"]
    assert "Expected calibration error" in parts["predictions"]
    assert "75 %" in parts["explained"]
    assert "The report shows another step of the run." in parts["explained"]
    assert "Effective rank" in parts["meters"]
    assert "Uniformity" in parts["meters"]
    assert "Samples per second" in parts["time"]
    assert "Time by part, over all sessions" in parts["time"]
    assert "Compiling" in parts["time"]
    assert "Share of the time waiting for input" in parts["curves"]
    assert "Terms of the objective" not in parts["curves"]  # there is one; what is logged of the speed is none
    assert "train 63" in parts["data"]
    assert "encoders.image.channels" in parts["config"]
    assert "digits_mmcl: " in parts["config"]
    assert 'class="absent"' not in page  # nothing is missing
    for sentence in (
        "The training is complete",
        "No step was skipped",
        "Encoders of image (cnn) and table (table_mlp)",
    ):
        assert sentence in page


def test_foreign_text_is_no_markup_and_nothing_is_loaded(page: str) -> None:
    assert "<img src=//" not in page
    assert "onerror=alert(1)&gt;" in page
    assert page.count("</style>") == 1
    for tag, attributes in Elements(page).elements:
        assert tag not in ("script", "link", "iframe", "object", "base", "form"), tag
        for name in ("src", "href", "action", "srcset", "poster", "data"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/")), (tag, value[:60])
        assert not any(name.startswith("on") for name in attributes)
    assert "url(" not in page
    assert "@import" not in page


def test_headings_are_in_order_and_pictures_are_described(page: str) -> None:
    elements = Elements(page).elements
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    pictures = [attributes for tag, attributes in elements if tag == "img"]
    assert pictures
    assert all(attributes.get("alt") is not None for attributes in pictures)
    hero = re.search(r'<div class="hero" aria-hidden="true">(.*?)</div>', page, re.DOTALL)
    assert hero is not None
    described = [attributes for attributes in pictures if attributes["alt"]]
    assert len(pictures) - len(described) == hero.group(1).count("<img")  # only the ornament has none
    for drawing in re.findall(r"<svg[^>]*>.{0,9}", page):
        assert 'aria-hidden="true"' in drawing or "<title>" in drawing, drawing
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {attributes["href"] for tag, attributes in elements if tag == "a"}
    assert links <= {f"#{one}" for one in ids}


def test_the_same_call_writes_the_same_page(made: Made, page: str, tmp_path: Path) -> None:
    mj.report(made.run, rows=ROWS, colour="price", out=tmp_path / "again" / "page.html")
    again = (tmp_path / "again" / "page.html").read_text()
    assert re.sub("<footer>.*", "", again) == re.sub("<footer>.*", "", page)
    assert list((tmp_path / "again").iterdir()) == [tmp_path / "again" / "page.html"]


def commands(page: str) -> Iterator[list[str]]:
    for text in re.findall(r'class="absent">[^<]*<code>(.*?)</code>', page):
        yield shlex.split(html.unescape(re.sub("<.*?>", "", text)))


def test_what_is_missing_is_said_with_the_command_that_adds_it(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    left_out = shutil.ignore_patterns("heads", "explanations", "evaluation.json")
    shutil.copytree(made.run.directory, run, ignore=left_out)
    page = mj.report(run, rows=ROWS).path.read_text()
    for sentence in ("has no score yet", "No head of this run is kept", "The run is not explained yet"):
        assert page.count(sentence) == 1
    (evaluate, *_) = typed = [*dict.fromkeys(map(tuple, commands(page)))]
    assert {words[1] for words in typed} == {"evaluate", "explain"}
    assert main([*evaluate[1:], "--max-epochs", "1", "--learning-rates", "1e-2", "--baselines", ""]) == 0
    assert main(["report", "--run", str(run), "--rows", str(ROWS)]) == 0
    assert (run / "report.html").as_uri() in capsys.readouterr().out
    again = (run / "report.html").read_text()
    assert "has no score yet" not in again
    assert "No head of this run is kept" not in again


def test_a_run_without_a_checkpoint_or_a_store_has_a_page(made: Made, tmp_path: Path) -> None:
    untrained = mj.report(made.untrained, out=tmp_path / "a.html").path.read_text()
    assert "No step is logged yet" in untrained
    assert "has no checkpoint; train it with mmcl pretrain." in untrained
    shutil.copytree(made.run.directory, tmp_path / "moved")
    origin = json.loads((tmp_path / "moved" / "store.json").read_text())
    (tmp_path / "moved" / "checksums.json").unlink()
    (tmp_path / "moved" / "store.json").write_text(json.dumps({**origin, "directory": str(tmp_path / "gone")}))
    page = mj.report(tmp_path / "moved").path.read_text()
    assert page.count("which does not exist; if it has moved, give its new path as --store.") >= 3
    assert "Linear probe on images" in page  # scores need no store
    assert "polyline" in page  # nor do curves
    given = mj.report(tmp_path / "moved", store=made.store, rows=ROWS).path.read_text()
    assert "does not exist" not in given


def test_a_store_of_images_alone(tmp_path: Path) -> None:
    """No table, no label: nothing to colour by, nothing to predict, no columns to rank; the page says so."""
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 15, 1), np.uint8)
    store = mj.prepare(pl.DataFrame({"k": [f"k{i}" for i in range(40)]}), images, out=tmp_path / "store")
    config = load("digits_simclr", [f"data={store.directory}", *SMALL[:7]])
    run = mj.Run.begin(tmp_path / "run", config, store, Inputs.fit(config.inputs, store))
    page = mj.report(run).path.read_text()
    assert "The store has no label to predict; prepare it again with --label COLUMN" in page
    assert "It has no columns to rank" in page
    assert "40 rows" in page


def test_runs_side_by_side(made: Made, tmp_path: Path) -> None:
    """Two experiments of one name and seed are kept apart, and runs on several stores are said to be so."""
    other = make_store(tmp_path / "other", seed=1)
    config = load("digits_mmcl", [f"data={other.directory}", *SMALL, "schedule.learning_rate=1e-2"])
    second = mj.Run.begin(tmp_path / "second", config, other, Inputs.fit(config.inputs, other))
    (tmp_path / "second" / "metrics.jsonl").write_text('{"step": 1, "loss": null, "skipped": 1, "seconds": 2.0}\n')
    page = mj.report([made.run, second], out=tmp_path / "page.html", rows=ROWS).path.read_text()
    assert "Comparison of 2 runs" in page
    assert "These runs were trained on 2 different stores" in page
    assert "1 key in which the experiments differ" in page
    assert re.search(r"schedule\.learning_rate.{0,80}0\.003.{0,80}0\.01", page)
    assert "The loss was not finite in 1 logged step." in page
    assert "1 step of 1 were skipped" in page or "1 step of 1 was skipped" in page
    assert ">first<" in page  # the two have one name, so they go by their folders
    assert ">second<" in page


def test_scores_that_differ_in_kind_are_not_averaged(made: Made, tmp_path: Path) -> None:
    """Two experiments of one name, two tasks of one label, and two settings of one evaluation."""
    for name, top1 in (("a", 0.25), ("b", 0.75)):
        shutil.copytree(made.run.directory, tmp_path / name, ignore=shutil.ignore_patterns("heads", "explanations"))
        (tmp_path / name / "checksums.json").unlink()
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps({**config, "log_every": 2 if name == "a" else 3}))
        raw = json.loads((tmp_path / name / "evaluation.json").read_text())
        (entry,) = [entry for entry in raw["scores"] if entry["of"]["source"] == "run"]
        entry["metrics"]["top1"] = top1
        other = {**entry, "of": {**entry["of"], "max_epochs": 9}}
        ordinal = {**entry, "task": "ordinal", "metrics": {"kappa": 0.5, "mae": 0.125}}
        raw["scores"] += [other, ordinal]
        del raw["sha256"]  # as its message tells whoever means a change
        (tmp_path / name / "evaluation.json").write_text(json.dumps(raw))
    one = mj.report(tmp_path / "a", out=tmp_path / "a.html", rows=ROWS).path.read_text()
    assert "0.250" in one
    assert "test quadratic weighted kappa" in one
    assert "1 score of other checkpoints, stores or settings is not shown." in one
    page = mj.report([tmp_path / "a", tmp_path / "b"], out=tmp_path / "page.html", rows=ROWS).path.read_text()
    assert "0.500 ± " not in page  # the mean of 0.25 and 0.75


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--run", "nowhere"], "nowhere is not a run"),
        (["--run", "RUN", "RUN"], "is named twice; name it once."),
        (["--run", "RUN", "OTHER"], "Say where the report of several runs goes, with --out FILE."),
        (["--run", "RUN", "--out", "."], "--out: . is a folder"),
        (["--run", "RUN", "--colour", "prize"], "has no label or column 'prize' (did you mean 'price'?)"),
        (["--run", "RUN", "--results", "none.json"], "--results: none.json does not exist"),
        (["--run", "RUN", "--checkpoint", "77"], "has no checkpoint of step 77"),
        (["--run", "RUN", "--store", "nowhere"], "nowhere is not a store"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], sentence: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names = {"RUN": str(made.run.directory), "OTHER": str(made.untrained.directory)}
    out = [] if "--out" in arguments or "OTHER" in arguments else ["--out", "page.html"]
    assert main(["report", *(names.get(word, word) for word in arguments), *out]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_damaged_parts_are_said_and_the_rest_is_shown(made: Made, page: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made.run.directory, run)
    (head,) = [path for path in (run / "heads").iterdir() if "pixels" not in path.name]
    (head / "arrays.npz").write_bytes(b"")
    (explanation,) = (run / "explanations").iterdir()
    (explanation / "explanation.json").write_text("{")
    damaged = mj.report(run, rows=ROWS).path.read_text()
    assert f"The head {head.name} cannot be shown" in html.unescape(damaged)
    assert "make it again with mmcl explain" in damaged
    assert "Linear probe on images" in damaged


@pytest.mark.parametrize(
    "line", ['{"step": 1', '{"step": 1, "loss": 2.0}', "[1]", '{"step": 1, "seconds": 1, "loss": "low"}']
)
def test_a_damaged_log_is_one_sentence(made: Made, line: str, tmp_path: Path) -> None:
    shutil.copytree(made.run.directory, tmp_path / "run", ignore=shutil.ignore_patterns("heads", "checkpoints"))
    (tmp_path / "run" / "metrics.jsonl").write_text(f"{line}\n")
    with pytest.raises(mj.UserError, match=r"metrics\.jsonl is damaged \(.*\); put a copy of it back, or move it away"):
        mj.report(tmp_path / "run", out=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_what_the_command_returns(made: Made, tmp_path: Path) -> None:
    written = Report(tmp_path / "a page.html", (made.run.directory,), 3)
    (tmp_path / "a page.html").write_text(f"<p>{EVIL}</p>")
    assert repr(written) == f"Open {tmp_path.as_uri()}/a%20page.html"
    assert written.to_dict()["scores"] == 3
    assert "sandbox" in written._repr_html_()
    assert "<img" not in written._repr_html_()


CONTRAST = """() => {
  const parts = text => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const scale = text.startsWith('color(') ? 1 : 255;
    return [...numbers.slice(0, 3).map(v => v / scale), numbers.length > 3 ? numbers[3] : 1];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parts(getComputedStyle(one).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [1, 1, 1, 1];
  };
  const low = [];
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.tagName === 'title' || element.closest('.aloud') || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const front = parts(element.closest('svg') ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(element))].sort((p, q) => q - p);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push([element.tagName, element.className.baseVal ?? element.className, ratio.toFixed(2)]);
  }
  return low;
}"""


@pytest.mark.foreign
def test_in_a_browser(made: Made, page: str) -> None:
    """No error, no request, no sideways scrolling, and enough contrast: phone and desktop, light and dark."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    assert program is not None, "install chromium, which the tests of pages look with"
    path = made.run.directory / "report.html"
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for width, height in ((390, 844), (1280, 900)):
            for scheme in ("light", "dark"):
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                tab = context.new_page()
                messages: list[str] = []
                requests: list[Any] = []
                tab.on("console", lambda message, kept=messages: kept.append(message.text))
                tab.on("pageerror", lambda error, kept=messages: kept.append(str(error)))
                tab.on("request", lambda request, kept=requests: kept.append(request.url))
                tab.goto(path.as_uri())
                where = f"{width} px, {scheme}"
                assert messages == [], where
                assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()], where
                assert tab.evaluate("document.documentElement.scrollWidth") <= width, where
                assert tab.evaluate(CONTRAST) == [], where
                assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)"), where
                assert tab.evaluate("[...document.images].every(image => image.hasAttribute('alt'))"), where
                paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
                assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 28)")
                # Text must stay readable: no letter below 11 px, but for the marks of charts on phones.
                small = "[...document.querySelectorAll('p, li, td, th, dd, dt, figcaption')]"
                sizes = tab.evaluate(f"{small}.map(one => parseFloat(getComputedStyle(one).fontSize))")
                assert min(sizes) >= 11, where
                context.close()
        browser.close()
