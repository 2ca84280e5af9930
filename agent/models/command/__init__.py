"""Any program as a model: its ``client``, and the ``supervisor`` that runs and kills it."""
