"""Any program as a model: its ``client``, and the ``watcher`` that kills it when the agent ends."""
