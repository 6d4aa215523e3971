"""`python -m edge`: the command line without an installed script."""

import sys

from edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
