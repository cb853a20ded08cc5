"""Completion in shells, asked of a real bash, and the help that teaches by example."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmcl_jax.cli.completion import SHELLS
from mmcl_jax.cli.main import COMMANDS, EXAMPLES, STORY, main, make_parser

pytestmark = pytest.mark.core


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The completion script of every shell, as the command prints it."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        with pytest.MonkeyPatch.context() as patch, (folder / shell).open("w") as file:
            patch.setattr(sys, "stdout", file)
            with pytest.raises(SystemExit) as leaving:
                main(["--print-completion", shell])
        assert leaving.value.code in (0, None)
    return {shell: folder / shell for shell in SHELLS}


ASK = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
function=$(complete -p mmcl); function=${function##*-F }; function=${function%% *}
"$function" mmcl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["pre"], {"prepare", "pretrain"}, {"evaluate"}),
        (["evaluate", "--pro"], {"--protocol"}, {"--per-class"}),
        (["pretrain", "--config", "digits_"], {"digits_mmcl", "digits_simclr"}, {"mmcl"}),
        (["pretrain", "--config", "mmcl/simclr"], {"mmcl/simclr", "mmcl/simclr:own"}, {"mmcl/byol"}),
        (["pretrain", "--config", "mi"], {"mine.py"}, {"digits_mmcl"}),
        (["pretrain", "--config.batch"], {"--config.batch_size", "--config.batch_norm.epsilon"}, {"--config.seed"}),
        (["generate", ""], {"dvm", "cardiac"}, {"mine.py"}),
        (["prepare", "--aspect", "cr"], {"crop"}, {"pad"}),
        (["prepare", "--table", "mi"], {"mine.py"}, {"prepare"}),
        (["runs", "--s"], {"--sort", "--state"}, {"--json"}),
    ],
)
def test_bash_completes_without_python(
    words: list[str], some: set[str], none: set[str], scripts: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").touch()
    bash = shutil.which("bash")
    assert bash is not None
    environment = {"PATH": str(tmp_path / "nothing"), "HOME": str(tmp_path)}
    ask = [bash, "--norc", "-c", ASK, "ask", str(scripts["bash"]), "mmcl", *words]
    ran = subprocess.run(ask, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    replies = {reply.strip() for reply in ran.stdout.splitlines()}
    assert some <= replies, ran
    assert not none & replies
    assert ran.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_knows_commands_and_experiments(shell: str, scripts: dict[str, Path]) -> None:
    text = scripts[shell].read_text()
    assert all(command in text for command in (*COMMANDS, "digits_mmcl"))
    if program := shutil.which(shell):
        subprocess.run([program, "-n", str(scripts[shell])], check=True)


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--print-completion", "bsh"])
    assert "invalid choice: 'bsh' (did you mean 'bash'?)" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert all(f"\n  {example}\n" in text for example in EXAMPLES[command])
    assert all(f"mmcl {command} " in f"{example} " for example in EXAMPLES[command])


def test_the_help_of_the_program_tells_a_story() -> None:
    text = make_parser().format_help()
    positions = [text.index(EXAMPLES[name][0]) for name in STORY if name in COMMANDS]
    assert positions == sorted(positions)
    assert len(positions) >= 4


def test_python_m_runs_the_command_line() -> None:
    ran = subprocess.run([sys.executable, "-m", "mmcl_jax", "runs", os.devnull], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == "mmcl runs: /dev/null is no folder; give a folder with runs, such as runs.\n"
