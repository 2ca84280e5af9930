"""SmolLM2 on this machine: the ``client``, the process that is its ``server``, its ``weights``."""
