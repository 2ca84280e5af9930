"""What a campaign remembers.

The ``journal`` is the source of truth, in ``lines`` with a checksum each. The ``state`` is a fold
over its events and holds the ``records`` of trials, with the ``findings`` about their candidates;
``compared`` says what their heats have shown, ``so_far`` counts on what all of them tell. A
``snapshot`` may save reading all events.
The ``store`` makes git and the folder match; ``reading`` is for all who only look; ``disk`` keeps
the folder small; ``results`` is for other tools. What people hand in waits in ``submissions``.
``live`` says what is done at this moment, ``following`` reads on as a journal grows.

``learning`` rebuilds the prior from the trials.
"""
