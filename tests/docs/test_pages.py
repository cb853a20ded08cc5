"""Every code block of the pages and of the README runs as it is written, on small data and with small encoders."""

import contextlib
import functools
import json
import os
import re
import runpy
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import mmcl_jax as mj
from benchmarks.__main__ import NAMES as BENCHMARKS
from mmcl_jax.cli.main import main
from mmcl_jax.config import load
from mmcl_jax.datasets import digits
from mmcl_jax.encoders import ENCODERS
from mmcl_jax.training import loop
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, commands_of
from tests.test_examples import TINY

# Commands that are not run here, and why; each is the beginning of a command of a page.
_PRETRAIN = "mmcl pretrain --config mmcl/mmcl:own --config.data=stores/ads"
NOT_RUN = {
    "python -m venv": "the tests of every change begin with it",
    "mmcl compile": "tests/aot compiles for machines that are not here",
    "mmcl quickstart": "tests/cli/test_commands.py runs it",
    "mmcl reproduce": "tests/reproduce runs them",
    "mmcl generate": "tests/cli/test_own_data.py, tests/datasets and tests/synthetic run them",
    "mmcl pretrain --config taxonomy/": "tests/training/test_taxonomy.py trains a union of all edges",
    "mmcl pretrain --config contig/": "tests/training/test_contig.py trains them, on a store that it draws",
    "mmcl pretrain --config lovt/": "tests/training/test_lovt.py trains them, on a store that it draws",
    "mmcl evaluate --run runs/outer": "tests/evaluation evaluates runs of several inputs",
    "python launch/local.py": "tests/launch/test_local.py runs it",
    "python examples/modalities.py": "tests/training/test_modalities.py runs it",
    "mmcl prepare --request request.json": "examples/modalities.py writes such requests",
    "mmcl pretrain --config config.py": "examples/modalities.py writes such configs",
    "mmcl evaluate --run runs/cohort": "examples/modalities.py evaluates such runs",
    "mmcl evaluate --run runs/eyes": "tests/evaluation/protocols/test_cohort.py has such inputs and labels",
    "mmcl evaluate --run runs/random --store stores/rsna": "tests/evaluation/protocols/test_boxes.py",
    "mmcl evaluate --run runs/films": "tests/evaluation/protocols/test_boxes.py has such a store",
    "mmcl evaluate --run runs/f0": "tests/evaluation has runs of folds",
    "mmcl evaluate --run runs/ads-0": "tests/evaluation has several runs of several methods",
    "mmcl evaluate --run runs/digits-0": "tests/evaluation has several runs of one method",
    "mmcl pretrain --config mmcl/mmcl:own --config.data=stores/cars32": "needs a store of drawn cars",
    "mmcl evaluate --run runs/cars-0": "needs hours of training",
    "mmcl evaluate --run runs/64_*": "needs hours of training",
    "mmcl prepare --table /shared/ads.csv": "tests/prepare/test_beam.py runs the direct runner",
    "mmcl prepare --dataset dvm": "tests/datasets/test_dvm.py draws the files",
    "mmcl prepare --dataset fundus": "tests/datasets/test_fundus.py draws the files",
    "mmcl prepare --dataset aptos": "tests/datasets/test_downstream_eyes.py draws the files",
    "mmcl prepare --dataset rfmid": "tests/datasets/test_downstream_eyes.py draws the files",
    "mmcl prepare --dataset palm": "tests/datasets/test_downstream_eyes.py draws the files",
    "mmcl prepare --dataset cardiac": "tests/datasets/test_cardiac.py draws the files",
    "mmcl prepare --dataset tfds": "tests/datasets/test_recipe_options.py makes such a data set",
    "mmcl evaluate --run runs/xx": "tests/evaluation/sources/test_drawn_views.py evaluates such a run",
    "mmcl explain --run runs/heads": "tests/explain/test_volumes.py explains such runs",
    "mmcl prepare --dataset two_view_mnist": "tests/datasets/test_mnist.py makes the files",
    "mmcl prepare --dataset fashion_mnist": "tests/datasets/test_mnist.py makes the files",
    "mmcl prepare --dataset mnist_svhn": "tests/datasets/test_mnist.py makes the files",
    "mmcl prepare --dataset oasis": "tests/datasets/test_oasis.py draws the files",
    "mmcl prepare --dataset mimic_cxr": "tests/synthetic reads drawn files",
    "mmcl prepare --dataset ms_cxr": "tests/synthetic reads drawn files",
    "mmcl prepare --dataset rsna": "tests/synthetic reads drawn files",
    "mmcl prepare --dataset object_cxr": "tests/datasets/chest/test_downstream.py writes the files",
    "mmcl prepare --dataset nih_boxes": "tests/datasets/chest/test_downstream.py writes the files",
    "mmcl prepare --dataset siim": "tests/synthetic reads drawn files",
    "mmcl prepare --dataset covid_rural": "tests/synthetic reads drawn files",
    "mmcl pretrain --config lovt/chexpert:chest": "trains for minutes; tests/config loads every experiment",
    "mmcl evaluate --run runs/chexpert": "tests/evaluation evaluates such runs",
    "mmcl prepare --dataset measured": "tests/datasets/test_measured.py runs it",
    "mmcl pretrain --config mmcl/mmcl:cars": "in a loop of the shell, whose variables it reads",
    "mmcl pretrain --config mmcl/byol:cardiac": "tests/config loads every experiment",
    "mmcl pretrain --config tip/tip:digits": "tests/training/test_tip.py trains it",
    "mmcl evaluate --run runs/tip": "tests/evaluation/sources/test_absent_parts.py has such inputs",
    "mmcl pretrain --config mt_cmtm/mt_cmtm:digits": "tests/training/test_first_steps.py trains every small experiment",
    "mmcl evaluate --run runs/mt_cmtm": "tests/evaluation has runs of tables",
    "mmcl prepare --table mmcl_quickstart/raw/digits.csv": "tests/training/test_masked.py makes this store",
    "mmcl pretrain --config mmcl/simclr:own --config.data=stores/ads --config.batch_size=4096": "tests/training/optim",
    f"{_PRETRAIN} --config.sinks": "tests/training/test_sinks.py runs it",
    f"{_PRETRAIN} --workdir runs/ads --config.encoders.image.name=resnet50": "tests/training/test_initial_weights.py",
    f"{_PRETRAIN} --workdir runs/vit --config.encoders.image.name=vit_base": "tests/training/test_initial_weights.py",
    "mmcl pretrain --config lovt/lovt:mimic": "tests/training/test_bert.py begins with such weights",
    "mmcl import": "tests/export/imports makes such checkpoints",
    "mmcl evaluate --run runs/released": "tests/export/imports makes such runs",
    "mmcl embed --run runs/eyes": "tests/export/embeddings/test_requested.py has such requests",
    "mmcl explain --run runs/contig": "tests/explain/test_losses.py explains the loss of several modalities",
    "mmcl evaluate --run runs/contig": "tests/evaluation/protocols/test_confounding.py has such runs",
    "python -m benchmarks.sentence_maps": "needs the runs of a table; tests/benchmarks/test_sentence_maps.py runs it",
    "python -m benchmarks.similar_modalities": "needs the runs of a table; tests/benchmarks/test_similar.py runs it",
    "python -m benchmarks.explained_eyes": "trains for minutes; tests/explain/test_truth.py tests its parts",
    "mmcl similarity --run mmcl_quickstart/runs/digits_mmcl-0 --checkpoint": "tests/evaluation/similarity has epochs",
    "mmcl similarity --run mmcl_quickstart/runs/digits_mmcl-0 mmcl": "tests/evaluation/similarity has several runs",
    "mmcl align": "tests/evaluation/alignment runs it on drawn squares",
    "mmcl explain --run runs/chest": "tests/evaluation/alignment explains such runs",
    "mmcl gwas": "tests/gwas runs it on drawn genotypes",
    "mmcl report --run runs/mmcl-*": "tests/report compares runs",
    "mmcl --print-completion": "tests/cli/test_completion.py asks a shell",
    "mmcl prepare --dataset multabench": "tests/datasets/test_multabench.py makes such a folder",
    "mmcl prepare --dataset membranes": "tests/datasets/test_membranes.py draws the files",
    "mmcl pretrain --config mmcl/mmcl:own --config.data=stores/pets": "in a loop of the shell, whose variable it reads",
    "mmcl evaluate --run runs/pets": "tests/datasets/test_multabench.py has such a store",
    "mmcl evaluate --run runs/ads --protocol probe --optimizer radam": "tests/evaluation/heads/test_cycle.py trains so",
    "mmcl evaluate --run runs/ads --protocol augmented_probe": "tests/evaluation/protocols/test_finetune.py adapts",
    "mmcl evaluate --run mmcl_quickstart/runs/digits_mmcl-0 --protocol logistic": "tests/evaluation/protocols",
    "mmcl evaluate --run runs/ads --protocol finetune": "tests/evaluation/protocols/test_finetune.py fine-tunes",
    "mmcl evaluate --run runs/ads --protocol features": "tests/evaluation/protocols/test_boosting.py boosts",
}
# Pages whose blocks other tests run on data of their own.
ELSEWHERE = {
    "docs/buckets.md": "tests/bucket/test_commands.py",
    "docs/compile.md": "tests/aot/test_compile.py",
    "docs/genetics.md": "tests/prepare/test_genotypes.py",
    "docs/export.md": "tests/export/test_docs.py",
    "docs/programs.md": "tests/export/programs/test_docs.py",
    "docs/volumes.md": "tests/datasets/test_oasis.py",
}
SHORT = ("--max-epochs", "1", "--seeds", "1", "--learning-rates", "1e-2")  # for every evaluation
# What the fragments of a page read before they are given it.
BEFORE = {
    "docs/digits.md": "from mmcl_jax.config import experiment, input, view\nconfig = experiment()",
    "docs/scans.md": "from mmcl_jax.config import experiment, view\nconfig = experiment()",
    "docs/reference/encoders.md": "from mmcl_jax.config import experiment\nconfig = experiment()",
    "docs/pairs.md": """
import jax, numpy as np, types
from flax import nnx
eqx = types.SimpleNamespace(filter_jit=lambda function: function)
images, tables = np.random.default_rng(0).normal(size=(2, 4, 8)).astype("float32")
pooled, local = images, np.repeat(images[:, None], 3, axis=1)
ids, ages, has_table = np.arange(4), np.arange(4.0), np.ones(4, bool)
""",
    "docs/experiments.md": """
from mmcl_jax.config import encoder, experiment, projector, term, view
config = experiment()
Mixer = None
""",
    "docs/python.md": """
import numpy as np, polars as pl, mmcl_jax as mj
from pathlib import Path
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
frame = ads = new_ads = pl.read_csv("ads.csv").drop_nulls()
paths = [f"photos/{name}" for name in frame["file"]]
pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
models = new_models = frame["model"]
mj.evaluate("runs/ads", input="table", seeds=1, max_epochs=1, learning_rates=1e-2, baselines=(), keep="kept")
(head,) = Path("kept").iterdir()
""",
    "docs/explain.md": "import mmcl_jax as mj",
    "docs/evaluation.md": """
import mmcl_jax as mj
store = mj.Store.open("stores/ads")
""",
}
PROGRAMS = {  # of others, and the scripts that tests/launch runs against stand-ins of a cluster
    "docker", "kubectl", "gcloud", "sbatch", "squeue", "scontrol", "scancel", "tail", "tensorboard", "export", "ls",
    "grep", "jq", "pip", ".venv/bin/pip", "pytest", ".", "launch/tpu_vm.sh", "for", "done",
}  # fmt: skip


class Assembled(BaseException):
    """The experiment was built and its step traced; nothing is compiled."""


def small(config: Any) -> list[str]:
    """Return the overrides of `TINY` that an experiment has keys for."""
    keys = []
    for key, value in TINY.items():
        node = config
        for part in key.split("."):
            node = node.get(part) if hasattr(node, "get") else None
        if node is not None or key == "monitor.epochs":
            keys.append(f"{key}={value!r}")
    return keys


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the files that the pages speak of, and runs that were trained for an epoch."""
    folder = tmp_path_factory.mktemp("pages")
    with contextlib.chdir(folder):
        run_example("draw_ads.py", ".")
        mj.prepare("ads.csv", "photos/", image_column="file", label="model", out="stores/ads")
        shutil.copy("may.csv", "new.csv")
        shutil.copytree("may", "new")
        Path("groups.json").write_text('{"size": ["length"]}')
        mj.prepare("may.csv", "may/", like="stores/ads", out="stores/may")
        mj.prepare(request=vars(digits.unpack(Path("mmcl_quickstart/raw"))), out="mmcl_quickstart/store")
        for name, store, run in (
            ("mmcl/mmcl:own", "stores/ads", "runs/ads"),
            ("mmcl/simclr:own", "stores/ads", "runs/simclr"),
            ("digits_mmcl", "mmcl_quickstart/store", "mmcl_quickstart/runs/digits_mmcl-0"),
        ):
            config = load(name, [f"data={store}"])
            mj.pretrain(load(name, [f"data={store}", *small(config)]), workdir=run)
        mj.evaluate(
            "runs/ads", protocol="probe", input="image+table", seeds=1, max_epochs=1, learning_rates=[1e-2],
            baselines=(), keep=True,
        )  # fmt: skip
        yield folder


def run_example(name: str, *arguments: str) -> None:
    before, sys.argv = sys.argv, [name, *arguments]
    try:
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(autouse=True)
def forget_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page registers is not known to the tests behind it."""
    monkeypatch.setattr(ENCODERS, "_factories", dict(ENCODERS._factories))


@pytest.mark.filterwarnings("ignore:.*rows have no value of the label")
@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_blocks_of_a_page_run(page: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if str(page) in ELSEWHERE:
        assert page.name in (ROOT / ELSEWHERE[str(page)]).read_text()
        return
    folder = tmp_path / "page"
    shutil.copytree(world, folder, copy_function=os.link)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(mj, "prepare", replacing(mj.prepare))
    monkeypatch.setattr(mj, "pretrain", lambda *_, **options: mj.Run.open(Path(options["workdir"])))
    monkeypatch.setattr(mj, "fit", functools.partial(mj.fit, overrides=TINY))
    monkeypatch.setattr(mj, "ContrastiveEmbedder", functools.partial(mj.ContrastiveEmbedder, overrides=TINY))
    short = functools.partial(mj.TableClassifier, learning_rates=1e-2, max_epochs=1)
    monkeypatch.setattr(mj, "TableClassifier", short)
    names: dict[str, Any] = {}
    exec(BEFORE.get(str(page), ""), names)
    for block in blocks_of(page):
        if block.language == "sh":
            for words in commands_of(block):
                run_command(words, block)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "{ .python }":  # a file of examples/, which tests/test_examples.py runs
            (name,) = re.findall(r'--8<-- "(examples/.*?)"', block.text)
            assert (ROOT / name).is_file()
        elif block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), names)
            if "def get_config" in block.text:  # the file that the next commands name
                Path("mine.py").write_text(block.text)
        else:
            assert block.language in ("", "text"), f"{block}: what is {block.language!r}?"


def run_command(words: list[str], block: Block) -> None:
    words = [words[0].removeprefix(".venv/bin/"), *words[1:]]
    line = " ".join(words)
    if line.startswith(tuple(NOT_RUN)) or words[0].rstrip(";") in PROGRAMS:
        for word in words:
            if word.startswith(("launch/", "examples/")):
                assert (ROOT / word).is_file(), f"{block}: there is no {word}"
    elif words[:3] == ["python", "-m", "benchmarks"]:
        assert words[3] in BENCHMARKS, f"{block}: {line}"
    elif words[0] == "python" and words[1].startswith("examples/"):
        run_example(words[1].removeprefix("examples/"), *words[2:])
    elif words[0] == "mmcl":
        run_mmcl(words[1:], block)
    else:
        raise AssertionError(f"{block}: nothing runs {line!r}")


def run_mmcl(words: list[str], block: Block) -> None:
    """Run a command; a training ends before it is compiled, and an evaluation takes short trainings."""
    (head, *_) = Path("runs/ads/heads").iterdir()
    if find_spec("onnx") is None:  # no requirement of the tests; tests/export/programs has it
        words = [word.replace("stablehlo,onnx", "stablehlo") for word in words]
    words = [str(head) if word in ("runs/ads/heads/NAME", "runs/ads/heads/HEAD") else word for word in words]
    if words[0] == "pretrain":
        words[words.index("--workdir") + 1] += "-new"
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Assembled):
            patch.setattr(loop, "check_step", functools.partial(assembled, loop.check_step))
            raise AssertionError(f"{block}: mmcl {' '.join(words)} ended with status {main(words)}")
        run = Path(words[words.index("--workdir") + 1].removesuffix("-new"))
        if not run.exists():  # later commands find a run that was trained on the same store
            (data,) = [word.partition("=")[2] for word in words if word.startswith("--config.data=")]
            shutil.copytree({"stores/ads": "runs/ads"}.get(data, "mmcl_quickstart/runs/digits_mmcl-0"), run)
        return
    elif words[0] == "prepare":
        status = replacing(lambda *_, out: main(words))(
            out=words[words.index("--out") + 1] if "--out" in words else "-"
        )
    else:
        status = main([*words, *(SHORT if words[0] == "evaluate" else ())])
    assert status == 0, f"{block}: mmcl {' '.join(words)}"


def replacing(prepare: Any) -> Any:
    """Return a function that prepares a store anew, and puts back the one that runs were trained on."""

    @functools.wraps(prepare)
    def prepared(*arguments: Any, out: Any, **options: Any) -> Any:
        out, aside = Path(out), Path("aside")
        if not out.exists():
            return prepare(*arguments, out=out, **options)
        out.rename(aside)
        result = prepare(*arguments, out=out, **options)
        shutil.rmtree(out)
        aside.rename(out)
        return result

    return prepared


def assembled(check_step: Any, *arguments: Any) -> None:
    check_step(*arguments)
    raise Assembled


def test_what_is_not_run_is_in_a_page() -> None:
    lines = [
        " ".join(w) for page in PAGES for block in blocks_of(page) if block.language == "sh" for w in commands_of(block)
    ]
    for start in NOT_RUN:
        assert any(line.removeprefix(".venv/bin/").startswith(start) for line in lines), start
