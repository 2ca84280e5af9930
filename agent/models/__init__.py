"""Clients for language models, one per kind of service; ``types`` defines the interface."""
