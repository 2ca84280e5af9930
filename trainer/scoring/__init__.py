"""One scoring: the trusted ``parent`` and ``scorer``, and the ``child`` that holds the weights.

The scorer sees that child as a ``model``, asks it the audits' ``questions`` besides the score, and
decides by their ``statistics`` whether to believe it.
"""
