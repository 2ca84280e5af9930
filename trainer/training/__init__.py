"""One training: the trusted ``parent``, the confined ``child``, and the ``machine`` they run on."""
