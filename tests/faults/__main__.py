"""Try the whole matrix and write it down."""

import sys

from tests.faults.matrix import main

sys.exit(main())
