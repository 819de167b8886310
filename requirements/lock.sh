#!/bin/sh
# Remake the hash-pinned locks from pyproject.toml. Index and mirrors come from the user's own settings.
set -eu
cd "$(dirname "$0")/.."
lock() { out=$1; shift; UV_PYTHON_DOWNLOADS=never .venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
  --generate-hashes --no-header "$@" pyproject.toml -o "requirements/$out"; }
lock demo.txt --extra demo --group build
lock dev.txt --extra demo --group build --group dev
