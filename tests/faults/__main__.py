"""Try every case and write down the distinct results."""

import sys

from tests.faults.matrix import main

sys.exit(main())
