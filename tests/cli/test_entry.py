"""From the entry into `main` on, signals end every command tidily; and a key is given once."""

import signal
import subprocess
import sys

import pytest

from mmcl_jax.cli.main import COMMANDS

pytestmark = pytest.mark.core

# Forks a process for each command and signal, which the signal reaches while the command's module is imported.
CODE = """
import os, signal, sys, time, traceback, types
from mmcl_jax.cli import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # an earlier test of the worker may have left it ignored

def importing(name):
    os.kill(os.getpid(), number)
    time.sleep(20)

main.importlib = types.SimpleNamespace(import_module=importing)
for command in main.COMMANDS:
    for number in (signal.SIGTERM, signal.SIGINT):
        if (child := os.fork()) == 0:
            try:
                sys.argv = ["mmcl", command]
                main.main()
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(1)
        print(command, int(number), os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_a_signal_during_the_imports_ends_every_command_with_its_status() -> None:
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    ends = {signal.SIGTERM: (75, "stopped; the same command continues"),
            signal.SIGINT: (130, "interrupted; the same command starts again")}  # fmt: skip
    cases = [(command, number, *end) for command in COMMANDS for number, end in ends.items()]
    assert ran.stdout.splitlines() == [f"{command} {number:d} {status}" for command, number, status, _ in cases]
    assert ran.stderr.splitlines() == [f"mmcl {command}: {sentence}." for command, _, _, sentence in cases]
