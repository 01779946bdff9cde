"""What the assets act on: the places, the tracking server, the ledger, and where endpoints run. Bound in the composition root."""

import dagster as dg

from data.errors import UserError
from data.places import Places
from serving.deploy import LocalTarget
from serving.ledger import Ledger
from training.tracking import Tracking


class Platform(dg.ConfigurableResource):
    """One setting decides everything below: `target: local` runs endpoints as supervised processes on this machine."""

    target: str = "local"

    @property
    def places(self) -> Places:
        """The project and its home."""
        return Places.find()

    @property
    def ledger(self) -> Ledger:
        """The record of truth for releases."""
        return Ledger.at(self.places.home)

    def tracking(self) -> Tracking:
        """The tracking server that `aiprime up` or `aiprime run` started, answering; UserError where there is none."""
        url = self.places.service("mlflow")
        if url is None:
            raise UserError("no tracking server is running", next_step="aiprime up")
        tracking = Tracking(url)
        tracking.wait()
        return tracking

    def deployment(self) -> LocalTarget:
        """Where model versions are served."""
        return LocalTarget(self.places.home)
