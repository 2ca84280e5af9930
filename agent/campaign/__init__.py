"""What a campaign remembers.

The ``journal`` is the source of truth. The ``state`` is a fold over its events and holds the
``records`` of trials. The ``store`` makes git and the folder match; ``results`` is for other tools.
"""
