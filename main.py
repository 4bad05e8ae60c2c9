"""The published command line: ``python main.py --class all --seg 1 --data_path D --save_path S …``."""

import sys

from skrd4ad.cli import published_main

if __name__ == "__main__":
    sys.exit(published_main())
