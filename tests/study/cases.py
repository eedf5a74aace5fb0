"""What tests of a study, and of its workers, are told and ask."""

from ood_core import study


class Told(study.Progress):
    """Remembers what it was told."""

    def __init__(self):
        self.seen = []

    def epoch(self, planned, epoch, loss):
        self.seen.append((planned.recipe.id, epoch))

    def done(self, planned):
        self.seen.append((planned.recipe.id, "done"))


def states(seeds=2):
    return [planned.state for planned in study.plan("made", "tiny", seeds)]
