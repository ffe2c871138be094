#!/usr/bin/env bash
# Makes .venv with what requirements.txt pins; does nothing where there is no Python.
set -euo pipefail
cd "$(dirname "$0")"
if ! python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "fastapi: skipped, there is no Python 3.11 with venv"
  exit 0
fi
python3 -m venv .venv
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
echo "fastapi: ready"
