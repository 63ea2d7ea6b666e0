"""`python -m emulator`, which `make run` calls: the app with all it needs, on this machine.

Not for: anything of its own; see newcomer.py.
"""

import sys

from emulator.newcomer import main

sys.exit(main(sys.argv[1:]))
