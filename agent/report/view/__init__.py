"""A campaign as people look at it: one projection of its state, for terminal, page and JSON.

``view`` is a pure function. Its parts answer in this order: what run is this, what did it find, can
that be believed, what does it do now, what shall be done next. Every text is one printable line; a
display has to escape its own markup, since titles, hypotheses and reasons may come from a model.
"""

from agent.report.view.models import Advice as Advice
from agent.report.view.models import Belief as Belief
from agent.report.view.models import Cost as Cost
from agent.report.view.models import Found as Found
from agent.report.view.models import Gain as Gain
from agent.report.view.models import Keep as Keep
from agent.report.view.models import NearMiss as NearMiss
from agent.report.view.models import Now as Now
from agent.report.view.models import Pace as Pace
from agent.report.view.models import Row as Row
from agent.report.view.models import Run as Run
from agent.report.view.models import Share as Share
from agent.report.view.models import Verified as Verified
from agent.report.view.models import View as View
from agent.report.view.projection import at_moment as at_moment
from agent.report.view.projection import row_of as row_of
from agent.report.view.projection import view as view
