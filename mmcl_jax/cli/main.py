"""`mmcl`: the entry point."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import NoReturn

from mmcl_jax import __version__
from mmcl_jax.cli.disk import sentence_of
from mmcl_jax.errors import UserError
from mmcl_jax.signals import ends_at_sigterm
from mmcl_jax.text import visible

COMMANDS = {
    "prepare": "a table and a folder of images become a store",
    "generate": "drawn data in the format of a data set that cannot be shipped",
    "pretrain": "train the encoders of an experiment; the same command resumes",
    "evaluate": "what runs are worth: linear probes, fine-tuning, nearest neighbours and retrieval",
    "reproduce": "a table of a paper, ours beside the published numbers; the same command continues",
    "upgrade": "a store or run of an earlier version becomes one of today's",
    "quickstart": "all of it on the small real data set that ships with the package",
}

# The same from Python, which `--help` shows beside the options; `mj` is `import mmcl_jax as mj`.
FROM_PYTHON = {
    "prepare": 'mj.prepare("ads.csv", "photos/", image_column="file", label="model", out="stores/ads")',
    "generate": 'mj.generate("dvm", out="raw/dvm")',
    "pretrain": 'mj.pretrain("mmcl/mmcl:own", data="stores/ads", workdir="runs/ads", overrides={"epochs": 20})',
    "evaluate": 'mj.evaluate("runs/ads", protocol=["probe", "knn"], per_class=[5, 20])',
    "reproduce": 'mj.reproduce("mmcl/table1", data="stores/ads", out="tables", variant="own")',
    "upgrade": 'mj.upgrade("stores/ads")',
    "quickstart": 'mj.quickstart("mmcl_quickstart", seeds=3)',
}

# Options whose keys are not fixed, and the commands that take them.
DOTTED = {"--config.": ("pretrain", "reproduce"), "--dataset.": ("prepare", "generate")}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns the exit status: 0, 1 if a worker process died, 2 for bad input or a file or disk that cannot be used, 75 if
    it was asked to stop (SIGTERM) and the same command continues, 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with ends_at_sigterm(words[0] if words else "", leaves=arguments is None):
        return _main(words)


def _main(words: list[str]) -> int:
    parser = _parser()
    # Only the command that is asked for is imported: `mmcl --help` need not load JAX.
    if words and words[0] in COMMANDS:
        command = importlib.import_module(f"mmcl_jax.cli.{words[0]}")
        command.add_arguments(parser.commands[words[0]])
    dotted = [word for word in words if word.startswith(tuple(DOTTED))]
    options = parser.parse_args([word for word in words if word not in dotted])
    for word in dotted:
        prefix = next(prefix for prefix in DOTTED if word.startswith(prefix))
        if options.command not in DOTTED[prefix]:
            parser.error(f"{word} belongs to mmcl {DOTTED[prefix][0]}")
    options.overrides = [word.partition(".")[2] for word in dotted]
    _quiet()
    try:
        return command.run(options) or 0
    except UserError as error:
        if options.debug:
            raise
        print(f"mmcl {options.command}: {error}", file=sys.stderr)
        return 2
    except BrokenProcessPool:
        sentence = (
            "a worker process died, perhaps for want of memory; the same command continues, also with fewer --workers."
        )
        print(f"mmcl {options.command}: {sentence}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        again = "begins anew" if options.command == "generate" else "continues"
        print(f"mmcl {options.command}: interrupted; the same command {again}.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if options.debug:
            raise
        print(f"mmcl {options.command}: {sentence_of(error)}", file=sys.stderr)
        return 2
    return 0


class _Parser(argparse.ArgumentParser):
    """An argument parser that knows the parsers of its commands."""

    commands: dict[str, argparse.ArgumentParser]

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, which may quote what was typed, and exit with status 2."""
        super().error(visible(message))


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, where there is one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if isinstance(action.default, tuple) and action.default:
            return f"{action.help} (default: {','.join(map(str, action.default))})"
        return action.help if action.default in (None, (), False) else super()._get_help_string(action)


def _parser() -> _Parser:
    parser = _Parser(prog="mmcl", description="Multimodal contrastive pretraining of images paired with tables.")
    parser.add_argument("--version", action="version", version=f"mmcl_jax {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser.commands = {}
    for name, help_text in COMMANDS.items():
        description = f"{help_text}. The same from Python (import mmcl_jax as mj): {FROM_PYTHON[name]}"
        sub = subparsers.add_parser(name, help=help_text, description=description, formatter_class=_Formatter)
        sub.add_argument("--debug", action="store_true", help="show the traceback of bad input")
        parser.commands[name] = sub
    return parser


def _quiet() -> None:
    """Silence what libraries log of their success; keep their warnings and errors."""
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.ERROR)
    for name in ("absl", "orbax", "jax"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
