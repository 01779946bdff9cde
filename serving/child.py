"""Start one program so that it ends when its parent does: `python -IS child.py PARENT SPEC.json [DIGEST]`, then exec.

PARENT is the parent's pid, or a text that its command line holds. SPEC.json states `command`, `env`, `unset` and `cwd`: paths
with spaces, any unicode and `%` never meet another program's configuration syntax. DIGEST is not read: it makes a changed SPEC
a changed command line. Imports nothing but the standard library, for it runs before each program.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def end_with_parent(expected: str) -> None:
    """Ask Linux to kill us when the parent dies (elsewhere nothing is done); exit where it is already gone."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # Whoever died between fork and prctl sends no signal: look who the parent is now.
    parent = os.getppid()
    found = str(parent) == expected if expected.isdigit() else expected.encode() in Path(f"/proc/{parent}/cmdline").read_bytes()
    if not found:
        sys.exit("the parent that started this program is gone")


def main() -> None:
    """Become the program that SPEC.json states; exit code 127 where it cannot be started."""
    end_with_parent(sys.argv[1])
    spec = json.loads(Path(sys.argv[2]).read_bytes())
    environment = {name: value for name, value in os.environ.items() if name not in spec["unset"]} | spec["env"]
    try:
        os.chdir(spec["cwd"])
        os.execvpe(spec["command"][0], spec["command"], environment)  # noqa: S606  (an argument list, not a shell's line)
    except OSError as error:
        print(f"cannot start {spec['command'][0]}: {error}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
