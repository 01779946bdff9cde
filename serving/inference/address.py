"""The address that a server listens on."""

from __future__ import annotations

import socket

from data.errors import UserError

SENT = 256 << 10  # bytes of an answer that the kernel keeps for a slow reader


def bound(host: str, port: int, flag: str) -> socket.socket:
    """A socket that holds the port and does not listen yet; UserError where another process has it, naming the `flag` to change."""
    holding = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SENT)  # connections have it too; else one may grow to 4 MB
    try:
        holding.bind((host, port))
    except (OSError, OverflowError) as error:
        holding.close()
        raise UserError(f"cannot listen on {host}:{port}: {error}", next_step=f"choose another port with {flag}") from error
    return holding
