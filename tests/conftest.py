"""Random tests: the same cases on every run of continuous integration, new ones elsewhere."""

import os
import signal

from hypothesis import settings

settings.register_profile("new", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "new")

# A shell's background job is born deaf to Ctrl-C, and Python then leaves it so: tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
