"""`mmcl`: the entry point of the command line."""

import argparse
import contextlib
import functools
import importlib
import os
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from types import ModuleType
from typing import Any, NoReturn

from mmcl_jax import __version__
from mmcl_jax.cli.disk import sentence_of
from mmcl_jax.cli.output import Output, redirected
from mmcl_jax.errors import UserError
from mmcl_jax.files import system_error
from mmcl_jax.signals import ends_at_interrupt, ends_at_sigterm
from mmcl_jax.text import escape_messages, nearest, visible, visible_lines

COMMANDS = {
    "prepare": "make a store from a table and a folder of images",
    "generate": "write artificial data in the format of a data set that cannot be shipped",
    "compile": "tell what an experiment needs on a machine that need not be there: memory, messages, time",
    "pretrain": "train the encoders of an experiment; the same command continues a run",
    "import": "make a run of a PyTorch checkpoint of MMCL's or TIP's released code",
    "evaluate": "measure runs by linear probes, fine-tuning, nearest neighbours and retrieval",
    "embed": "write embeddings of new rows, or of a store, into a Parquet file; the same command continues",
    "explain": "show which columns, and which pixels, encoders and kept heads depend on",
    "similarity": "compare the representations of modalities, layers, checkpoints and runs",
    "align": "analyse how images and reports agree, and where sentences point in images",
    "gwas": "test embeddings, or any phenotypes, for association with genotypes",
    "export": "write the encoders of a run for PyTorch, Flax and other programs",
    "report": "write a page that shows runs: results, curves, pictures, data and configs",
    "runs": "list the runs below a folder, with state, progress and headline metrics",
    "reproduce": "make a table of a paper, with our numbers beside the published ones",
    "check": "compare a store or run with its checksums, and repair what can be repaired",
    "upgrade": "convert a store or run of an earlier version to the current format",
    "quickstart": "prepare, pretrain and evaluate on the small real data set of the package",
}

# Examples of every command, which `--help` shows before the options.
EXAMPLES = {
    "prepare": (
        "mmcl prepare --table ads.csv --images photos/ --image-column file --label model --out stores/ads",
        "mmcl prepare --table ads.csv --images photos/ --image-column file --check",
        "mmcl prepare --table may.csv --images may/ --like runs/ads --out stores/may",
    ),
    "generate": ("mmcl generate dvm --out raw/dvm --dataset.ads=4000",),
    "compile": (
        "mmcl compile --config mmcl/mmcl:own --config.data=stores/ads --topology v5e:16x16",
        "mmcl compile --config mmcl/mmcl:dvm --topology h100:8 --config.batch_size=65536 --suggest",
        "mmcl compile --config digits_mmcl --config.data=stores/digits",
    ),
    "pretrain": (
        "mmcl pretrain --config mmcl/mmcl:own --config.data=stores/ads --workdir runs/ads",
        "mmcl pretrain --config mine.py --config.data=stores/ads --config.epochs=20 --workdir runs/mine",
    ),
    "import": (
        "mmcl import --checkpoint last.ckpt --config mmcl/mmcl:dvm --config.data=stores/dvm --out runs/released",
    ),
    "evaluate": (
        "mmcl evaluate --run runs/ads --protocol probe,knn --per-class 5,20",
        "mmcl evaluate --run runs/ads --protocol finetune --learning-rates 1e-3,1e-4",
        "mmcl evaluate --run runs/ads --protocol logistic --input image --confounders price",
        "mmcl evaluate --run runs/ads-0 runs/ads-1 runs/simclr-0 --out comparison.json",
    ),
    "embed": (
        "mmcl embed --run runs/ads --table new.csv --images new/ --out embeddings.parquet",
        "mmcl embed --run runs/ads --images photos/ --input image --dtype float16 --out photos.parquet",
        "mmcl embed --run runs/ads --store stores/ads --split test --output projection --out test.parquet",
    ),
    "explain": (
        "mmcl explain --run runs/ads",
        "mmcl explain --run runs/ads --method ablation,loss --groups groups.json",
        "mmcl explain --run runs/ads --head runs/ads/heads/HEAD --output predicted",
        "mmcl explain --run runs/ads --head runs/ads/heads/HEAD --method guided_grad_cam",
        "mmcl explain --run runs/chest --method sentences --show-text",
        'mmcl explain --run runs/chest --text "left pleural effusion"',
    ),
    "similarity": (
        "mmcl similarity --run runs/ads --layer pooled,projection --out similarity/ads",
        "mmcl similarity --run runs/ads --checkpoint kept --input image --measure cka --out similarity/epochs",
        "mmcl similarity --run runs/ads-0 runs/simclr-0 --input image --split test --out similarity/methods",
    ),
    "align": (
        "mmcl align --run runs/chest --out aligned/chest",
        "mmcl align --run runs/chest --truth raw/chest/truth/findings.csv --prompts pleural_effusion,edema "
        "--subgroup sex,age,view --out aligned/chest",
    ),
    "gwas": (
        "mmcl gwas --run runs/eyes --genotypes chr1.bed chr2.bed --covariates people.txt --out gwas/eyes",
        "mmcl gwas --pheno traits.txt --components 0 --genotypes cohort.bed --out gwas/traits",
    ),
    "export": (
        "mmcl export --run runs/ads --format safetensors,orbax --out release",
        "mmcl export --run runs/ads --head runs/ads/heads/NAME --out release --push OWNER/NAME",
    ),
    "report": (
        "mmcl report --run runs/ads",
        "mmcl report --run runs/ads-0 runs/simclr-0 --results comparison.json --out comparison.html",
    ),
    "runs": (
        "mmcl runs runs/",
        "mmcl runs runs/ --sort score --state finished",
        "watch -n 60 mmcl runs runs/ --state running",
        "mmcl runs runs/ --json",
    ),
    "reproduce": ("mmcl reproduce mmcl/table1 --data stores/ads --variant own --out tables",),
    "check": ("mmcl check stores/ads", "mmcl check runs/ads --repair"),
    "upgrade": ("mmcl upgrade stores/ads", "mmcl upgrade runs/ads"),
    "quickstart": ("mmcl quickstart --seeds 3",),
}

# The commands from raw data to everything that comes out of them, whose first examples `mmcl --help` shows.
STORY = ("prepare", "pretrain", "runs", "evaluate", "embed", "explain", "export", "report")

# The same from Python, which `--help` shows, too; `mj` is `import mmcl_jax as mj`.
FROM_PYTHON = {
    "prepare": 'mj.prepare("ads.csv", "photos/", image_column="file", label="model", out="stores/ads")',
    "generate": 'mj.generate("dvm", out="raw/dvm")',
    "compile": 'mj.compile("mmcl/mmcl:dvm", topology="v5e:16x16", overrides={"batch_size": 65536})',
    "pretrain": 'mj.pretrain("mmcl/mmcl:own", data="stores/ads", workdir="runs/ads", overrides={"epochs": 20})',
    "import": 'mj.import_weights("last.ckpt", "mmcl/mmcl:dvm", "runs/released", data="stores/dvm")',
    "evaluate": 'mj.evaluate("runs/ads", protocol=["probe", "knn"], per_class=[5, 20])',
    "embed": 'mj.embed("runs/ads", "new.csv", "new/", out="embeddings.parquet")',
    "explain": 'mj.explain("runs/ads", method=["integrated_gradients", "ablation"])',
    "similarity": 'mj.similarity("runs/ads", layer=["pooled", "projection"], out="similarity/ads")',
    "align": 'mj.align("runs/chest", truth="raw/chest/truth/findings.csv", out="aligned/chest")',
    "gwas": 'mj.gwas("runs/eyes", ["chr1.bed", "chr2.bed"], covariates="people.txt", out="gwas/eyes")',
    "export": 'mj.export("runs/ads", out="release", format=["safetensors", "orbax"])',
    "report": 'mj.report("runs/ads", colour="price")',
    "runs": 'mj.runs("runs", sort="score").to_frame()',
    "reproduce": 'mj.reproduce("mmcl/table1", data="stores/ads", out="tables", variant="own")',
    "check": 'mj.check("stores/ads", repair=True)',
    "upgrade": 'mj.upgrade("stores/ads")',
    "quickstart": 'mj.quickstart("mmcl_quickstart", seeds=3)',
}

# Options with any key of a config or data set, and the commands that take them.
DOTTED = {"--config.": ("compile", "pretrain", "import", "reproduce"), "--dataset.": ("prepare", "generate")}


def function_of(command: str) -> str:
    """Return the name of a command's function: its own name, unless that is a keyword of Python."""
    return {"import": "import_weights"}.get(command, command)


def module_of(command: str) -> str:
    """Return the module of a command, below `api.commands` and `cli.commands`."""
    return f"upkeep.{command}" if command in ("runs", "check", "upgrade") else function_of(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    The status is 0 for success, 1 if a worker process died, 2 for bad input and for a file or disk that cannot be used,
    75 after a stop (SIGTERM) from which the same command continues, and 130 for Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None:  # this process is the command's own
        escape_messages()
    name = words[0] if words else ""
    with contextlib.ExitStack() as resources:
        output = Output(name, resources.enter_context(redirected()) if _asks_json(words) else None)
        stopped = functools.partial(output.fail, printed=True)
        resources.enter_context(ends_at_sigterm(name, leaves=arguments is None, report=stopped))
        try:
            status = _main(words, output)
        except BaseException as error:
            _leave(2 if isinstance(error, SystemExit) else 1, error)
            raise
        _leave(status)
        return status


def _leave(status: int, error: BaseException | None = None) -> None:
    """Tell the other processes of a job, if there are any, how this one ends."""
    processes = sys.modules.get("mmcl_jax.training.processes")
    if processes is not None:
        processes.leave(status, error)


def _main(words: list[str], output: Output) -> int:
    try:
        with ends_at_interrupt():
            command, options = _parsed(words)
    except BadUsage as error:
        output.fail(error.sentence, 2, printed=True)
        raise
    _quiet()
    try:
        result = command.run(options)
        _tell_programs()
        return output.succeed(result)
    except UserError as error:
        status = output.fail(str(error), 2)
        if options.debug:
            raise
        return status
    except BrokenProcessPool:
        sentence = "a worker process died, perhaps for lack of memory; the same command continues"
        fewer = ", also with fewer --workers" if "workers" in options else ""
        return output.fail(f"{sentence}{fewer}.", 1)
    except KeyboardInterrupt:
        again = "starts again" if options.command in ("generate", "explain") else "continues"
        return output.fail(f"interrupted; the same command {again}.", 130)
    except BrokenPipeError:  # the program that read the output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        known = error if error.errno is not None else system_error(error)
        status = output.fail(sentence_of(known or error), 2)
        if options.debug:
            raise
        return status
    except Exception as error:
        if (system := system_error(error)) is not None and not options.debug:
            return output.fail(sentence_of(system), 2)
        output.fail(visible_lines(f"{type(error).__name__}: {error}"), 1, printed=True)
        raise
    return 0


def _tell_programs() -> None:
    """Print how long the programs of the command took to compile, if that was a second or more."""
    compilation = sys.modules.get("mmcl_jax.compilation")  # commands that need no JAX have not loaded it
    line = None if compilation is None else compilation.news()
    if line is not None:
        print(line, file=sys.stderr)


def _asks_json(words: list[str]) -> bool:
    """Return whether the arguments have `--json`, which the parser also takes as `--js`."""
    return any(len(word) > 2 and "--json".startswith(word) for word in words)


def _parsed(words: list[str]) -> tuple[ModuleType, argparse.Namespace]:
    """Return the module of the command, and its options."""
    parser = make_parser()
    # Only the module of the command is imported, so that `mmcl --help` does not load JAX.
    if words and words[0] in COMMANDS:
        command = importlib.import_module(f"mmcl_jax.cli.commands.{module_of(words[0])}")
        command.add_arguments(parser.commands[words[0]])
    dotted = [word for word in words if word.startswith(tuple(DOTTED))]
    options, unknown = parser.parse_known_args([word for word in words if word not in dotted])
    if unknown:
        sub = parser.commands[options.command]
        hint = nearest(unknown[0].partition("=")[0], [*sub._option_string_actions, *DOTTED])
        sub.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    for word in dotted:
        prefix = next(prefix for prefix in DOTTED if word.startswith(prefix))
        if options.command not in DOTTED[prefix]:
            *others, last = DOTTED[prefix]
            parser.error(f"{word} is an option of mmcl {', '.join(others)} and {last}, not of mmcl {options.command}")
    options.overrides = [word.partition(".")[2] for word in dotted]
    return command, options


class BadUsage(SystemExit):
    """The end of the program because its arguments cannot be parsed, with the sentence that was printed."""

    def __init__(self, sentence: str) -> None:
        super().__init__(2)
        self.sentence = sentence


class _Parser(argparse.ArgumentParser):
    """An argument parser with the parsers of its commands."""

    commands: dict[str, argparse.ArgumentParser]

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Suggest the nearest choice for a value that is no choice, or for an unknown command."""
        if action.choices is not None and value not in action.choices:
            known = f"{nearest(value, action.choices)}; choose from {', '.join(map(str, action.choices))}"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}{known}")

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, which may quote the arguments, and exit with status 2."""
        sentence = visible(message)
        self.print_usage(sys.stderr)
        print(f"{self.prog}: error: {sentence}", file=sys.stderr)
        raise BadUsage(sentence)


class _PrintCompletion(argparse.Action):
    """The option that prints the completion script of a shell, for which it loads all commands."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: object, values: object, option: object = None
    ) -> None:
        """Print the script and exit."""
        from mmcl_jax.cli.completion import script

        assert isinstance(parser, _Parser)
        for name, command in parser.commands.items():
            importlib.import_module(f"mmcl_jax.cli.commands.{module_of(name)}").add_arguments(command)
        print(script(parser, parser.commands, str(values)))
        parser.exit()


class _Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """A help formatter that shows defaults, fills paragraphs, and keeps indented lines, which are examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(
            line if line.startswith(" ") else textwrap.fill(line, width, break_long_words=False)
            for line in text.splitlines()
        )

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if isinstance(action.default, tuple) and action.default:
            return f"{action.help} (default: {','.join(map(str, action.default))})"
        if isinstance(action.default, bool) or action.default in (None, (), 0, ""):
            return action.help
        return super()._get_help_string(action)


def make_parser() -> _Parser:
    """Return the parser of `mmcl`, whose commands have only the options that all commands have."""
    parser = _Parser(prog="mmcl", description=_story(), formatter_class=_Formatter)
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "fish"),
        metavar="SHELL",
        help="print the script that completes commands, options and experiments in bash, zsh or fish, and exit",
    )
    parser.add_argument("--version", action="version", version=f"mmcl_jax {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    parser.commands = {}
    for name, help_text in COMMANDS.items():
        usage = f"mmcl {name} ..., as in the examples of mmcl {name} --help"
        sub = subparsers.add_parser(
            name, usage=usage, help=help_text, description=_description(name), formatter_class=_Formatter
        )
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        sub.add_argument(
            "--json",
            action="store_true",
            help="print the results as one JSON object on standard output, and all other text on standard error",
        )
        parser.commands[name] = sub
    return parser


def _story() -> str:
    """Return the description of the program with the steps of a whole project."""
    steps = "\n".join(f"  {EXAMPLES[name][0]}" for name in STORY if name in EXAMPLES)
    return (
        "Multimodal contrastive pretraining of images paired with tables, from raw files to encoders, scores and "
        f"exports:\n\n{steps}\n\nThe same command continues after a stop. The options of a command, and more examples, "
        "are in mmcl COMMAND --help. mmcl quickstart takes these steps on a small real data set of the package."
    )


def _description(name: str) -> str:
    """Return the description of a command with its examples, in the shell and in Python."""
    examples = "\n".join(f"  {line}" for line in EXAMPLES[name])
    summary = COMMANDS[name][:1].upper() + COMMANDS[name][1:]
    return f"{summary}.\n\n{examples}\n\nThe same from Python, with import mmcl_jax as mj:\n\n  {FROM_PYTHON[name]}"


def _quiet() -> None:
    """Silence the messages of libraries; of JAX not its errors. Orbax logs those that it raises, with a traceback."""
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.FATAL)
    for name in ("absl", "orbax"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("jax").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
