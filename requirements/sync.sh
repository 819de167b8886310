#!/bin/sh
# Bring .venv in line with one of the locks beside this file: sync.sh demo|dev
# Everything is checked by hash; indexes, mirrors and certificates are the user's own pip or uv settings.
set -eu
cd "$(dirname "$0")/.."
lock="requirements/$1.txt"
stamp=".venv/.installed-$1"
python="${PYTHON:-python3}"

if [ -e "$stamp" ] && [ "$stamp" -nt "$lock" ] && [ "$stamp" -nt pyproject.toml ]; then exit 0; fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "error: '$python' is not Python 3.11 or later" >&2
  echo "hint: name another one: make PYTHON=python3.12 ..." >&2
  exit 2
fi
echo "installing $lock into .venv (checked by hash)" >&2
if [ ! -x .venv/bin/uv ] || ! .venv/bin/uv --version >/dev/null 2>&1; then
  "$python" -m venv .venv || {
    echo "error: '$python -m venv' failed" >&2
    echo "hint: on Debian and Ubuntu it needs the package python3-venv" >&2
    exit 2
  }
  .venv/bin/python -m pip install --quiet --disable-pip-version-check \
    --require-hashes --requirement requirements/uv.txt
fi
settings=$(.venv/bin/python src/cannery/indexes.py)
while IFS= read -r line; do
  if [ -n "$line" ]; then export "$line"; fi
done <<EOF
$settings
EOF
.venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --require-hashes --requirement "$lock"
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
touch "$stamp"
