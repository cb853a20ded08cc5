"""Nothing in the package unpickles, and no archive of somebody else is unpacked by the names in it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmcl_jax

PACKAGE = Path(mmcl_jax.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
# Modules whose readers run what a file says. `pickletools` reads opcodes, and runs none.
UNSAFE = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
# `extractall` of the archive in the package; see tests/datasets for the archives of others.
OWN_ARCHIVES = {"datasets/digits/__init__.py"}


def faults(path: Path) -> Iterator[str]:
    """What a module does that could run the code of a file, or write outside of a folder."""
    name = path.relative_to(PACKAGE).as_posix()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            yield from (f"imports {one}" for one in modules if one.split(".")[0] in UNSAFE)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if called in ("np.load", "numpy.load") and given.get("allow_pickle") != "False":
                yield f"line {node.lineno} calls {called} without allow_pickle=False"
            if called == "torch.load" or called.endswith(".read_pickle") or given.get("allow_pickle") == "True":
                yield f"line {node.lineno} unpickles by {called}"
            if called.endswith((".extractall", "archive.extract", "unpack_archive")) and name not in OWN_ARCHIVES:
                yield f"line {node.lineno} unpacks by {called}"


@pytest.mark.parametrize("code", ["import pickle", "from joblib import load", "np.load(path)", "torch.load(path)",
                                  "np.load(path, allow_pickle=True)", "archive.extractall(folder)"])  # fmt: skip
def test_the_test_can_fail(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "module.py").write_text(code)
    assert list(faults(tmp_path / "module.py"))


def test_nothing_unpickles_or_unpacks() -> None:
    assert len(FILES) > 400
    assert {path.name: found for path in FILES if (found := list(faults(path)))} == {}
