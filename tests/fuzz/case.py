"""A kind of input, and the trial of one of its cases."""

import ast
import dataclasses
import hashlib
import os
import shutil
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis.strategies import SearchStrategy

from mmcl_jax.errors import UserError

SLOW = 10.0  # seconds of processor time; the largest case has some kilobytes
_LONGEST = 4000  # characters of a sentence


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
      name: of the kind.
      cases: the strategy; a case is a Python literal, so that a finding can be stored as text.
      write: writes the files of a case into a folder.
      act: reads the files in a folder, and may write the path that it is given beside; raises `Wrong` for a result that
        is not right.
      mends: whether reading may write in the folder, as a store makes its `flat/` again.
    """

    name: str
    cases: SearchStrategy[Any]
    write: Callable[[Any, Path], None]
    act: Callable[[Any, Path, Path], Any]
    mends: bool = False


class Wrong(Exception):
    """A result that is not right."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What went wrong with a case: `key` is the same for cases with one cause, `text` has the traceback."""

    key: str
    text: str


def literal(text: str) -> Any:
    """Return the case whose `repr` is the text, which may have the numbers `nan` and `inf`."""

    class Numbers(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.AST:
            return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node

    return ast.literal_eval(Numbers().visit(ast.parse(text, mode="eval")))


def tried(kind: Kind, case: Any, folder: Path) -> Finding | None:
    """Try a case in a new folder, and return what went wrong.

    A result that is not right, an exception other than `UserError`, a sentence of several lines, a change of the files
    that were read, and a file that is left beside the result or after an error go wrong.
    """
    inputs, work = folder / "inputs", folder / "work"
    for path in (inputs, work):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
    kind.write(case, inputs)
    before, began, failed = _content(inputs), time.process_time(), False
    here = Path.cwd()
    os.chdir(work)  # so that a relative path is seen
    try:
        kind.act(case, inputs, work / "out")
    except UserError as error:
        failed = True
        sentence = str(error)
        if "\n" in sentence or not sentence.strip() or len(sentence) > _LONGEST:
            return Finding(f"{kind.name}: sentence: {_place(error)}", sentence)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a panic of polars is no Exception
        return Finding(f"{kind.name}: {type(error).__name__}: {_place(error)}", traceback.format_exc())
    finally:
        os.chdir(here)
    seconds = time.process_time() - began
    if seconds > SLOW:
        return Finding(f"{kind.name}: slow", f"{seconds:.1f} s of processor time")
    changed = {} if kind.mends else _content(inputs).items() ^ before.items()
    if changed:
        return Finding(f"{kind.name}: changed its inputs", str(sorted(changed)))
    left = sorted(path.name for path in work.iterdir() if failed or path.name != "out")
    return Finding(f"{kind.name}: left files", str(left)) if left else None


def _place(error: BaseException) -> str:
    """Return the last place of the package in the traceback, and the last place of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "mmcl_jax/" in frame.filename]
    return " < ".join(f"{Path(frame.filename).name}:{frame.name}" for frame in (frames[-1], *own[-1:]))


def _content(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
