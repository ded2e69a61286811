"""``python -m jouleprune`` is the command ``jouleprune``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
