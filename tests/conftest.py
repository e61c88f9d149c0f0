"""Random tests: the same cases on every run of continuous integration, new ones elsewhere."""

import os

from hypothesis import settings

settings.register_profile("new", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "new")
