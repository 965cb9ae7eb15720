"""`python -m hakd`: the command line."""

import sys

from hakd.cli import main

if __name__ == "__main__":
    sys.exit(main())
