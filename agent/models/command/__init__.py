"""Any program as a model.

``client`` asks it, ``folder`` is where it works, ``supervisor`` runs and kills it, ``words`` reads
what it has printed.
"""
