"""What a person did wrong, or what their data did, said so that they can act. Our own mistakes are ordinary exceptions."""

from __future__ import annotations


class UserError(Exception):
    """A mistake that a person can mend: says what, where, and the next step; printed without a traceback."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what, self.where, self.next_step = what, where, next_step
        super().__init__(
            "\n".join(part for part in (what, where and f"  where: {where}", next_step and f"  next:  {next_step}") if part)
        )
