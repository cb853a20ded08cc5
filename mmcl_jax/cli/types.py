"""Types and defaults of command-line options."""

import argparse
import csv
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from mmcl_jax.bucket.address import is_address
from mmcl_jax.errors import UserError
from mmcl_jax.targets import named
from mmcl_jax.text import brief, nearest


def _is_count(text: str) -> bool:
    """Return whether a text is a whole number from 1 to below 2^31."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and 0 < int(text) < 2**31


def size(text: str) -> tuple[int, int]:
    """Read a size: `128`, or `16x15` (height x width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(map(_is_count, parts)):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a size such as 128, or 16x15 (height x width)")
    return int(parts[0]), int(parts[-1])


def names(text: str) -> tuple[str, ...]:
    """Read comma-separated names; a name with a comma is written in quotation marks, as in a CSV file: `"a,b",c`."""
    try:
        (record,) = csv.reader([text], strict=True, skipinitialspace=True) if text else ([],)
    except (csv.Error, ValueError) as error:
        raise argparse.ArgumentTypeError(
            f"{brief(text)} is not a list of names such as a,b; write a name with a comma, or with a quotation mark at "
            f"its start, in quotation marks, and double its own: '\"a,b\",c' ({error})"
        ) from error
    return tuple(part for part in record if part)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a list of numbers such as 0.1,0.01") from error


def rates(text: str) -> tuple[float, ...]:
    """Read comma-separated numbers above 0."""
    numbers = _numbers(text)
    if not all(0 < number < float("inf") for number in numbers):
        raise argparse.ArgumentTypeError(f"{brief(text)}: a learning rate must be above 0, such as 0.001")
    return numbers


def fractions(text: str) -> tuple[float, ...]:
    """Read comma-separated numbers in (0, 1]."""
    numbers = _numbers(text)
    if not all(0 < number <= 1 for number in numbers):
        raise argparse.ArgumentTypeError(f"{brief(text)}: a fraction must be above 0 and at most 1, such as 0.1")
    return numbers


def shares(text: str) -> tuple[float, ...]:
    """Read comma-separated numbers in [0, 1)."""
    numbers = _numbers(text)
    if not all(0 <= number < 1 for number in numbers):
        raise argparse.ArgumentTypeError(
            f"{brief(text)}: a share that is hidden must be at least 0 and below 1, such as 0.5"
        )
    return numbers


def three_fractions(text: str) -> tuple[float, float, float]:
    """Read the three shares of the splits."""
    numbers = fractions(text)
    if len(numbers) != 3:
        raise argparse.ArgumentTypeError(f"{brief(text)} is not three fractions such as 0.7,0.1,0.2")
    return numbers[0], numbers[1], numbers[2]


def checkpoint(text: str) -> int | Literal["latest", "best"]:
    """Read a checkpoint: `latest`, `best` or a step."""
    if text == "latest":
        return "latest"
    if text == "best":
        return "best"
    if text != "0" and not _is_count(text):
        hint = nearest(text, ("latest", "best"))
        raise argparse.ArgumentTypeError(f"{brief(text)}{hint} is not latest, best or a step such as 2000")
    return int(text)


def checkpoints(text: str) -> tuple[int | str, ...]:
    """Read comma-separated checkpoints: `latest`, `best`, `kept` or steps."""
    return tuple("kept" if part == "kept" else checkpoint(part) for part in text.split(","))


def natural(text: str) -> int:
    """Read a whole number from 0 on."""
    if text != "0" and not _is_count(text):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a whole number such as 0 or 100")
    return int(text)


def positive(text: str) -> float:
    """Read a number above 0."""
    numbers = _numbers(text)
    if len(numbers) != 1 or not 0 < numbers[0] < float("inf"):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a number above 0, such as 0.01")
    return numbers[0]


def counts(text: str) -> tuple[int, ...]:
    """Read comma-separated positive integers."""
    parts = text.split(",")
    if not all(_is_count(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a list of positive whole numbers such as 5,20")
    return tuple(int(part) for part in parts)


def count(text: str) -> int:
    """Read a positive integer."""
    numbers = counts(text)
    if len(numbers) != 1:
        raise argparse.ArgumentTypeError(f"{brief(text)} is not one number such as 5")
    return numbers[0]


def indices(text: str) -> tuple[int, ...]:
    """Read comma-separated whole numbers from 0."""
    parts = text.split(",")
    if not all(part == "0" or _is_count(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a list of whole numbers from 0, such as 0,5")
    return tuple(int(part) for part in parts)


def path(text: str) -> Path | str:
    """Read a path; the address of a folder or file in a bucket, such as s3://bucket/ads, stays a text."""
    if is_address(text):
        return text
    try:
        return named(text, "path")
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("path: ")) from error


def paths(text: str) -> tuple[Path | str, ...]:
    """Read comma-separated paths or addresses."""
    return tuple(map(path, names(text)))


def intensity(text: str) -> str | tuple[float, float]:
    """Read an intensity range: `minmax`, `full`, or numbers such as `0:4095`."""
    if text in ("minmax", "full"):
        return text
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{brief(text)} is not minmax, full, or a range such as 0:4095") from error


def set_defaults(parser: argparse.ArgumentParser, function: Callable[..., Any]) -> None:
    """Give the options of a command the defaults of its function's parameters.

    Args:
      parser: the command's parser, with all its options.
      function: a function of `mmcl_jax.api`; its parameters without a default are required options.
    """
    parameters = inspect.signature(function).parameters.values()
    parser.set_defaults(**{p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty})


def arguments_of(function: Callable[..., Any], options: argparse.Namespace) -> dict[str, Any]:
    """Return the function's arguments from the options of its command."""
    return {name: getattr(options, name) for name in inspect.signature(function).parameters}
