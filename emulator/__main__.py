"""`python -m emulator`, which `make run` calls: the app with all it needs, on this machine.

Not for: anything of its own; see run.py.
"""

import sys

from emulator.run import main

sys.exit(main())
