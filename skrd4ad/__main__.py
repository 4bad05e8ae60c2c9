"""``python -m skrd4ad``."""

import sys

from skrd4ad.cli import main

if __name__ == "__main__":
    sys.exit(main())
