"""The earlier name of `python -m ppdet_ext.data.synthetic`, which draws sample sets; commands of old keep working."""

import sys

from .synthetic.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
