"""Ideas from the campaign's own past, without a model; a mechanism a module, each a pure function.

    comebacks   what nearly paid comes back on a later champion
    combine     two that nearly paid on this champion, in one edit
    proposer    asks them, and writes what they find as replies

What was tried and brought nothing: ``python -m benchmarks.search``, its part ``memory``.
"""
