"""Overrides and config files of every kind: the right config, or one sentence that names the key or the file."""

import json
import warnings
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from mmcl_jax.border import parse, to_json
from mmcl_jax.cli.main import main
from mmcl_jax.config import apply, experiment, load
from mmcl_jax.errors import UserError
from mmcl_jax.training.runs.plain import to_plain
from mmcl_jax.training.validate import check_config

pytestmark = pytest.mark.core

VALUES = [
    "", " 1", "1", "True", "None", "...", "-1", "1.5", "1e999", "-1e999", "nan", "inf", "1e-300", "1e39", "1j", "10l",
    str(2**33), str(2**64), "9" * 5000, "0x" + "f" * 5000, "b'x'", "f'{1}'", "'a\\nb'", "'", "\0", "\ud800",
    "'\\ud800'",
    "'\\N{no}'", "'\\d'", "{[]: 1}", "{1, 2}", "{}", "{'a': {'b': 1}}", "[" * 9000, "(" * 150 + "1" + ",)" * 150,
    "-" * 9000 + "1", "(1e999,)", "(None, b'')", "((1,), [2])", "1if 1else 2", "(" * 20 + "1" + ",)" * 20,
]  # fmt: skip
KEYS = ["seed", "data", "clip_norm", "rates.encoders.*", "encoders.image.channels"]
NO_KEYS = [
    "", ".", "..", ".seed", "seed.", "seed..x", "rates.", "rates.\ud800", "objective.²", "objective.٠", "objective.00",
    "objective.-1", f"objective.{'9' * 5000}", "encoders.image.__class__", "a\nb", "x" * 9000,
]  # fmt: skip


def fresh() -> ConfigDict:
    return load("digits_simclr", ["data=stores/x"])


@pytest.mark.parametrize("key", NO_KEYS, ids=range(len(NO_KEYS)))
def test_a_key_that_cannot_be_is_refused_in_one_sentence(key: str) -> None:
    with pytest.raises(UserError, match=r"^config") as caught:
        apply(fresh(), [f"{key}=1"])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("key", KEYS)
def test_an_override_gives_a_config_that_can_be_recorded_or_one_sentence(key: str) -> None:
    config, changed = fresh(), False
    for value in VALUES:
        config = fresh() if changed else config
        try:
            apply(config, [f"{key}={value}"])
            changed = True
            check_config(config)
        except UserError as error:
            sentence = str(error)
        else:
            sentence = "config"
            assert parse(to_json(to_plain(config))) == json.loads(json.dumps(to_plain(config)))
        assert sentence.startswith("config")
        assert sentence.isprintable()
        assert len(sentence) < 1000


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("objective.²=1", r"config.objective.²: config.objective has entries 0 to 0\."),
        ("objective.0.temperature=1e999", r"config.objective.0.temperature: inf is not a finite number\."),
        ("objective.0.temperature=1e-300", r"config.objective.0.temperature: 1e-300 is zero in float32"),
        ("clip_norm=1e39", r"config.clip_norm: 1e\+39 is too large; float32 ends at 3.4e\+38"),
        ("clip_norm=1j", r"config.clip_norm: 1j is a complex; a value must be None, True, False, a number"),
        ("seed=b'x'", r"config.seed: b'x' is a bytes"),
        ("seed=" + str(2**32), r"config.seed: 4294967296 must lie in \[0, 2\^31\)"),
        ("seed=True", r"config.seed: True is not of type int"),
        ("batch_size=" + str(2**40), r"config.batch_size: 1099511627776 must be positive and below 2\^31"),
        ("loader.workers=100000", r"config.loader.workers: 100000 must lie in \[0, 1024\]"),
        ("data=\udcff", r"config.data: '\\udcff' is not Unicode; if it names a file, rename the file\."),
        (
            "name=https://me:pw@host/x",
            r"^config.name: a run records this, so an address in it must not hold a password",
        ),
        ("data=s3://b/x?X-Amz-Signature=1", r"^config.data: a run records this"),
        ("rates.=1", r"config.rates: '' cannot be the name of a key"),
        ("clip_norm=" + "(" * 20 + "1" + ",)" * 20, r"config.clip_norm: this is nested more than 16 levels"),
    ],
)
def test_a_value_that_no_run_can_have_is_refused_by_key(override: str, sentence: str) -> None:
    def applied() -> None:
        config = fresh()
        apply(config, [override])
        check_config(config)

    with pytest.raises(UserError, match=sentence):
        applied()


BEGIN = "from mmcl_jax.config import *\nimport numpy as np\nfrom ml_collections import ConfigDict\ndef get_config():\n"
MADE = f"{BEGIN}    config = load('digits_simclr', ['data=x'])\n    "


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "has no function get_config"),
        ("get_config = 3", "has no function get_config"),
        ("get_config = dict", "mine.py: ValueError"),
        ("def get_config(:", r"mine.py: line 1: SyntaxError \(invalid syntax"),
        ("x = 1\n1 / 0", r"mine.py: line 2: ZeroDivisionError \(division by zero\); mend the file"),
        (f"{BEGIN}    raise ValueError('two\\nlines')", r"mine.py: line 5: ValueError \(two\)"),
        (f"{BEGIN}    raise ValueError", r"mine.py: line 5: ValueError \(no message\)"),
        (f"{BEGIN}    return get_config()", r"mine.py: line 5: RecursionError"),
        ("import sys\nsys.exit(0)", r"mine.py: line 2: a config file must not exit"),
        ("def get_config(name): pass", r"mine.py: TypeError .*name"),
        (f"{BEGIN}    pass", "mine.py: config: this must be a ConfigDict, not None; begin with mmcl_jax"),
        (f"{BEGIN}    return ConfigDict()", r"mine.py: config.average: this key is missing; begin with"),
        (f"{BEGIN}    return load('no')", "There is no config 'no'"),
        (f"{MADE}config.batchsize = 3; return config", r"mine.py: config.batchsize: there is no such key .*batch_size"),
        (f"{MADE}config.stop.patince = 3; return config", r"mine.py: config.stop.patince: there is no such key"),
        (f"{MADE}del config.stop; return config", r"mine.py: config.stop: this key is missing"),
        (f"{MADE}config.objective = 'clip'; return config", r"mine.py: line 6: TypeError"),
        (f"{MADE}config.objective = (1,); return config", r"config.objective.0: 1 is no term; make it with .*term\("),
        (f"{MADE}config.views = ConfigDict({{'a': ConfigDict()}}); return config", r"config.views.a: .* is no view"),
        (f"{MADE}config.fold = np.ones(3); return config", r"mine.py: config.fold: .* is a ndarray"),
        (f"{MADE}config.fold = ConfigDict(); return config", r"config.fold: this must be one value, no group of keys"),
        (f"{MADE}config.rates['x'] = float('nan'); return config", r"mine.py: config.rates.x: nan is not a finite"),
        (f"{MADE}config.rates['x'] = config; return config", r"this is nested more than 16 levels deep"),
        (b"x = '\xff'\n", r"mine.py.*SyntaxError"),
        (b"\0", r"mine.py: (Syntax|Value)Error \(source code .*null bytes"),
        (None, "There is no config '.*mine.py': neither a file nor one of the shipped"),
    ],
)  # fmt: skip
def test_a_config_file_that_is_wrong_is_one_sentence(
    content: str | bytes | None, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        with pytest.raises(UserError, match=sentence) as caught:
            load(str(path))
    assert str(path) in str(caught.value) or content == f"{BEGIN}    return load('no')"
    assert len(str(caught.value)) < 1000


def test_what_a_config_file_prints_does_not_disturb_the_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "mine.py").write_text("print('hello')\nraise SystemExit(0)\n")
    arguments = ["pretrain", "--config", str(tmp_path / "mine.py"), "--workdir", str(tmp_path / "run"), "--json"]
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert json.loads(out)["status"] == 2
    assert error.splitlines()[0] == "hello"
    assert not (tmp_path / "run").exists()


def test_a_complete_config_needs_no_file() -> None:
    config = experiment()
    del config["seed"]
    with pytest.raises(UserError, match=r"config.seed: this key is missing"):
        apply(config, [])
