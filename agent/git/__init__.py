"""Git by GitPython: commits and refs that leave the user's checkout as it is."""

import os

# Before GitPython is imported: a missing git is an error of the command that needs it, not of the
# import, and the git that is used is the one on PATH.
os.environ["GIT_PYTHON_REFRESH"] = "quiet"
os.environ.pop("GIT_PYTHON_GIT_EXECUTABLE", None)
