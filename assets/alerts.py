"""A person is called: always in the log and the ledger, and by a webhook where AIPRIME_WEBHOOK names one. Knows no reasons."""

from __future__ import annotations

import json
import logging
import urllib.request
from http.client import HTTPException
from urllib.parse import urlsplit

from data.places import Places

log = logging.getLogger("aiprime.alerts")
_TIMEOUT_S = 5


def call(places: Places, workload: str, said: str) -> bool:
    """Tell a person; whether a webhook took it. One that cannot be reached is logged: an alert must not end what raised it."""
    log.warning("%s: A PERSON IS NEEDED: %s", workload, said)
    url = places.setting("AIPRIME_WEBHOOK")
    if not url:
        return False
    body = json.dumps({"workload": workload, "text": f"AI Prime, {workload}: {said}"}).encode()
    try:
        if urlsplit(url).scheme not in {"http", "https"}:
            raise ValueError(url)
        request = urllib.request.Request(url, body, {"content-type": "application/json"})  # noqa: S310  (checked above)
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            return answer.status < 300
    except ValueError:  # neither is it logged here: it may hold a token
        log.error("AIPRIME_WEBHOOK is no http address: nobody was called by it")
        return False
    except (OSError, HTTPException) as error:
        log.error("the webhook could not be reached (%s): nobody was called by it", type(error).__name__)
        return False
