"""Every command of the command line is a function with the same names and defaults."""

import argparse
import ast
import importlib
import inspect
import os
from typing import Any

import pytest

import mmcl_jax as mj
from mmcl_jax.api.commands.pretrain import pretrain_to_result
from mmcl_jax.api.given import command_of
from mmcl_jax.cli.main import COMMANDS, FROM_PYTHON, function_of, make_parser, module_of

# Options whose keys are not fixed are one mapping in Python.
MAPPINGS = {
    "prepare": {"options"},
    "generate": {"options"},
    "compile": {"overrides", "data"},
    "pretrain": {"overrides", "data"},
    "import": {"overrides", "data"},
    "reproduce": {"overrides"},
}
ONLY_TYPED = {"help", "debug", "json"}


def options_of(command: str) -> dict[str, argparse.Action]:
    parser = make_parser().commands[command]
    importlib.import_module(f"mmcl_jax.cli.commands.{module_of(command)}").add_arguments(parser)
    return {action.dest: action for action in parser._actions if action.dest not in ONLY_TYPED}


@pytest.mark.parametrize("command", COMMANDS)
def test_options_are_parameters(command: str) -> None:
    parameters = inspect.signature(getattr(mj, function_of(command))).parameters
    options = options_of(command)
    assert options.keys() == parameters.keys() - MAPPINGS.get(command, set())
    for name, action in options.items():
        default = parameters[name].default
        if (command, name) in (
            ("prepare", "workers"),
            ("embed", "workers"),
        ):  # a function may be called where no process can be begun
            assert (action.default, default) == (os.cpu_count(), 1)
        elif default is inspect.Parameter.empty:
            assert action.required
        else:
            assert action.default == default


def test_what_the_command_line_trains_with_is_what_the_function_takes() -> None:
    assert inspect.signature(pretrain_to_result).parameters == inspect.signature(mj.pretrain).parameters


@pytest.mark.parametrize(
    ("function", "given", "command"),
    [
        (mj.evaluate, {"run": ["runs/a", "b c"], "per_class": [5, 20]}, "--run runs/a 'b c' --per-class 5,20"),
        (mj.evaluate, {"run": "a", "again": True, "label": ["a,b", "c"]}, """--run a --label '"a,b",c' --again"""),
        (mj.reproduce, {"table": "mmcl/table1", "data": "s", "out": "o", "overrides": {"dtype": "bfloat16"}},
         "mmcl/table1 --data s --out o --config.dtype=bfloat16"),
    ],
)  # fmt: skip
def test_a_call_is_written_down_as_a_command(function: Any, given: dict, command: str) -> None:
    defaults = {name: one.default for name, one in inspect.signature(function).parameters.items()}
    said = command_of(function, {**defaults, **given}, bare=("table",))
    assert said == f"mmcl {function.__name__} {command}"


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_in_the_help_fits_the_function(command: str) -> None:
    (call,) = ast.parse(FROM_PYTHON[command]).body
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    names = [word.arg for word in call.value.keywords if word.arg]
    inspect.signature(getattr(mj, function_of(command))).bind(*call.value.args, **dict.fromkeys(names))
    assert "mj." in (make_parser().commands[command].description or "")
