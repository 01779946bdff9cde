#!/usr/bin/env bash
# Install into .venv from the hashed locks. Quick when nothing changed. Used by the Makefile only.
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE
PYTHON="${PYTHON:-$(command -v python3.11 || command -v python3)}"

if ! command -v uv >/dev/null; then
  if [ ! -x .venv/bin/uv ]; then
    echo "· fetching uv (not on the path)"
    "$PYTHON" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r infra/locks/uv.txt
  fi
  uv() { .venv/bin/uv "$@"; }
fi

# torch has a lock of its own: the CPU wheel where pip's find-links offers it and there is no GPU, PyPI's build elsewhere.
links="$("$PYTHON" -m pip config get global.find-links 2>/dev/null || true)"
if [ -n "$links" ] && ls "$links"/torch-2.13.0+cpu-cp311-*_x86_64.whl >/dev/null 2>&1 && ! command -v nvidia-smi >/dev/null; then
  torch=infra/locks/torch-cpu.txt
  extra=(--find-links "$links")
else
  torch=infra/locks/torch.txt
  extra=()
fi

wanted="$(cat infra/locks/main.txt "$torch" pyproject.toml | sha256sum) $("$PYTHON" -V)"
if [ "$(cat .venv/.installed 2>/dev/null)" = "$wanted" ]; then
  echo "· .venv is up to date"
  exit 0
fi
if [ "${1:-}" = "--dry-run" ]; then
  exec uv pip install --dry-run --python "$PYTHON" --require-hashes -r infra/locks/main.txt -r "$torch" "${extra[@]}"
fi
[ -x .venv/bin/python ] || uv venv --quiet --python "$PYTHON" .venv
echo "· installing $(grep -c '^[a-zA-Z]' infra/locks/main.txt) packages and $(basename "$torch" .txt) into .venv"
uv pip install --python .venv/bin/python --require-hashes -r infra/locks/main.txt -r "$torch" "${extra[@]}" 2>&1 |
  { grep -v '^ [+~-]' || true; } # grep's own status only: uv's failure must end this script before .installed is written
uv pip check --quiet --python .venv/bin/python
uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
.venv/bin/python -c 'from data.places import Places; from data.versions import initialise; here = Places.find(); initialise(here.root, here.home)'
printf '%s' "$wanted" > .venv/.installed
