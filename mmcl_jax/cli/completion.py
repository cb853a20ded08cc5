"""Completion in shells: a script that knows the commands, their options and the experiments, so that no Python runs."""

import argparse
import shlex
import textwrap
from collections.abc import Iterator

from ml_collections import ConfigDict

from mmcl_jax.cli import types
from mmcl_jax.config import experiments, shipped
from mmcl_jax.config.experiment import experiment

SHELLS = ("bash", "zsh", "fish")


def script(parser: argparse.ArgumentParser, commands: dict[str, argparse.ArgumentParser], shell: str) -> str:
    """Return the completion script for a shell.

    Args:
      parser: of the program.
      commands: the parsers of its commands, with all their options.
      shell: one of `SHELLS`.
    """
    import shtab

    for command in commands.values():
        for action in list(command._actions):
            if action.help and action.help is not argparse.SUPPRESS:
                action.help = textwrap.shorten(action.help, 80, placeholder=" ...")
            if "--config" in action.option_strings:
                action.complete = _experiments()  # type: ignore[attr-defined]  # shtab reads it
                for key in _keys(experiment()):
                    command.add_argument(f"--config.{key}", help=f"the key {key} of the config")
            elif action.type in (types.path, types.paths):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _experiments() -> dict[str, str | dict[str, str]]:
    """Return functions of the shells that complete names of experiments and paths of config files."""
    names = [*shipped(), *(name for name in experiments() if name.endswith(":own"))]
    words = shlex.join(names)
    return {
        "bash": "_mmcl_experiments",
        "zsh": "_mmcl_experiments",
        "fish": "(_mmcl_experiments)",
        "preamble": {
            "bash": f'_mmcl_experiments() {{\n  compgen -W "{words}" -- "$1"\n  compgen -f -- "$1"\n}}\n',
            "zsh": f"_mmcl_experiments() {{\n  compadd -- {words}\n  _files\n}}\n",
            "fish": f"function _mmcl_experiments\n  printf '%s\\n' {words}\n"
            "  __fish_complete_path (commandline -ct)\nend\n",
        },
    }


def _keys(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of a config that hold values."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
