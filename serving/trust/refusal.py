"""What is said where something signed is not what it claims to be."""

from __future__ import annotations

from data.errors import UserError

RESTORE = "restore it from a backup (aiprime restore), or serve another version (aiprime release rollback)"


class Untrusted(UserError):
    """A folder, a signature or a statement that is refused: missing, changed, or signed by a key that is not trusted."""

    def __init__(self, what: str, *, where: object, next_step: str = RESTORE) -> None:
        super().__init__(what, where=str(where), next_step=next_step)
