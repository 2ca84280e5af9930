"""The verbs of the loop and of the commands; each takes what a run has at hand, the runtime."""
