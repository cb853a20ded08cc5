"""Try many inputs of every kind, and store what goes wrong; the same command goes on. Exit status 1 with findings."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Campaign
from tests.fuzz.case import literal, tried
from tests.fuzz.kinds import KINDS


def main() -> int:
    """Try inputs until each kind has its share, or one stored finding again."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all kinds together (default: 100000)")
    parser.add_argument("--only", default=",".join(KINDS), help=f"kinds (default: {','.join(KINDS)})")
    parser.add_argument("--out", type=Path, default=Path("fuzz"), help="folder of the findings (default: fuzz)")
    parser.add_argument(
        "--again", type=Path, metavar="FINDING", help="try the case of this file of findings, and nothing else"
    )
    arguments = parser.parse_args()
    if arguments.again is not None:
        key, case, *_ = arguments.again.read_text().splitlines()
        with tempfile.TemporaryDirectory() as folder:
            finding = tried(KINDS[key.partition(":")[0]], literal(case), Path(folder))
        print("nothing goes wrong" if finding is None else f"{finding.key}\n{finding.text}")
        return int(finding is not None)
    unknown = set(arguments.only.split(",")) - set(KINDS)
    if unknown:
        parser.error(f"--only: there is no kind {', '.join(sorted(unknown))}; the kinds are {', '.join(KINDS)}")
    campaign = Campaign(arguments.out)
    kinds = {name: KINDS[name] for name in arguments.only.split(",")}
    campaign.run(kinds, arguments.inputs, log=lambda line: print(line, file=sys.stderr, flush=True))
    for key, finding in campaign.summary["findings"].items():
        print(f"{finding['count']:6,} x {key}  ({finding['file']})")
    print(
        f"{sum(campaign.summary['inputs'].values()):,} inputs, {campaign.describe()}; see {arguments.out}/summary.json"
    )
    return int(bool(campaign.summary["findings"]))


if __name__ == "__main__":
    sys.exit(main())
