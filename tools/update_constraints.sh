#!/usr/bin/env bash
# Writes constraints.txt: one version of each dependency for every Python and system that kwire supports. CI installs
# these (PIP_CONSTRAINT), so that a new release of a dependency does not break it overnight; a weekly job goes without.
#
#   bash tools/update_constraints.sh      (needs a virtual environment: make .venv/.installed)
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
{
  echo "# Written by tools/update_constraints.sh from pyproject.toml. CI sets PIP_CONSTRAINT to this file."
  .venv/bin/uv pip compile --quiet --universal --all-extras --no-annotate --no-header --no-emit-index-url pyproject.toml
} > constraints.new
mv constraints.new constraints.txt
