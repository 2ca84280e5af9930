"""One scoring: the trusted ``parent`` and ``scorer``, and the ``child`` that holds the weights.

The scorer uses that child through ``model``. Besides scoring, it asks the child the audits'
``questions``, and their ``statistics`` decide whether the model is accepted.
"""
