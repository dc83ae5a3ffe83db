"""Models and their parts. Importing this room imports ppdet, without its noise."""

import ppdet_ext.host  # noqa: F401  before anything of ppdet
