"""Git through GitPython: makes commits and refs without a change to the user's checkout."""
