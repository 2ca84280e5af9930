"""Sources that the tests of edits share."""

SOURCE = '''"""Training file.

Heading
=======
"""

import torch

# === optimizer ===

LR = 0.02  # peak learning rate; range 1e-4..1e-1 log
BETAS = (0.9, 0.95)
STEPS = 10  # range 1..12

# === architecture ===

ACTIVATION = "relu2"  # choice relu2 gelu swiglu


class Model:
    def forward(self, x):
        y = self.a(x)

        if y is None:
            return x
        return y

    def other(self, x):
        return x
'''
