"""python -m ossicle is the command ossicle."""

import sys

from ossicle.cli import main

sys.exit(main())
