"""`python -m flowpi`, the same as `flowpi`."""

import sys

from flowpi.cli.main import main

sys.exit(main())
