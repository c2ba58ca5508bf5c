"""`python -m flowpi`, the same as `flowpi`."""

import sys

from flowpi.cli import main

sys.exit(main())
