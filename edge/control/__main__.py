"""`python -m edge.control JOB`: how the supervisor starts the control process."""

import sys

from edge.control.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
