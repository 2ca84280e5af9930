"""One scoring: the trusted ``parent`` and ``scorer``, and the ``child`` that holds the weights.

The scorer uses that child through ``model``. Besides scoring, it asks fresh ones the audits'
``questions``, before a keep about ``prefixes``; ``statistics`` decide whether it is accepted.
"""
