"""Where one answer came from, step by step, from what was asked to what turned out true. For the page, the command and the exports alike.

Nothing is invented: a step that cannot be shown any more says that it is gone, and since when where that is on record.
"""

from serving.why.steps import Question, Step, Walk, plain
from serving.why.walking import Why

__all__ = ["Question", "Step", "Walk", "Why", "plain"]
