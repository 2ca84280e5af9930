"""Git by GitPython: commits and refs that leave the user's checkout as it is."""
