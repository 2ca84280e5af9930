"""The commands of ``python -m agent``, by what they are for; each module adds its own to ``app``.

They are imported in the order in which ``--help`` lists them.
"""

# isort: off
from agent.commands import running as running
from agent.commands import looking as looking
from agent.commands import watching as watching
from agent.commands import evidence as evidence
from agent.commands import upkeep as upkeep
