"""Plant every fault in turn and say which ones no test found; exit status 1 if there is one, or a stale pattern."""

import argparse
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.mutants.faults import MUTANTS
from tests.mutants.run import CAUGHT, run


def main() -> int:
    """Run the mutants that are named, all by default."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="mutants to run (default: all)")
    parser.add_argument("--jobs", type=int, default=2, help="copies that are tested side by side (default: 2)")
    parser.add_argument("--list", action="store_true", help="print the names, and run nothing")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    if arguments.jobs < 1:
        parser.error(f"--jobs: must be positive, not {arguments.jobs}")
    chosen = [mutant for mutant in MUTANTS if not arguments.names or mutant.name in arguments.names]
    if arguments.list:
        print(*(mutant.name for mutant in chosen), sep="\n")
        return 0
    began, results = time.monotonic(), []
    for result in run(chosen, jobs=arguments.jobs):
        results.append(result)
        print(f"{len(results)}/{len(chosen)} {result.mutant.name}: {result.outcome}", file=sys.stderr, flush=True)
    table = Table("mutant", "file", "test", "outcome", "seconds")
    for mutant, outcome, seconds in results:
        table.add_row(mutant.name, mutant.file, mutant.test, outcome, f"{seconds:.0f}")
    Console(width=None if sys.stdout.isatty() else 240).print(table)
    caught = sum(result.outcome == CAUGHT for result in results)
    print(f"{caught} of {len(results)} mutants caught in {time.monotonic() - began:.0f} s")
    return int(caught < len(results))


if __name__ == "__main__":
    sys.exit(main())
