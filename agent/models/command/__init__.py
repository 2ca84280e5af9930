"""Any program as a model: its ``client``, and the ``watcher`` that ends it with the agent."""
