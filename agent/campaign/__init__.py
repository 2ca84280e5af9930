"""What a campaign remembers.

The ``journal`` is the truth; the ``state`` is a fold over its events and holds the ``records`` of
trials; the ``store`` makes git and the campaign's folder follow it; ``results`` is for other tools.
"""
