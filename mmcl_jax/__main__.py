"""`python -m mmcl_jax`: the command line, for an environment whose programs are not on the path."""

import sys

from mmcl_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
