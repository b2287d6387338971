#!/usr/bin/env bash
# Installs what the interop tests run against the emulator, below target/interop; a second run does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/interop
there=target/interop
mkdir -p "$there"

# Debian's names for the commands that are missing.
packages=()
need() { # command package...
  command -v "$1" >/dev/null || packages+=("${@:2}")
}
need curl curl
need openssl openssl
need jq jq
# keytool comes with it.
need javac default-jdk-headless
need cfssl golang-cfssl
need node nodejs
need npm npm
# For the command line at a terminal, its completions, its metrics and its page.
need promtool prometheus
need chromium chromium
need tmux tmux
# What the container's health check runs, and the network of a README's session.
need busybox busybox
need ip iproute2
need zsh zsh
need fish fish
# Debian's python3 comes without the part that makes environments.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
if ((${#packages[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
fi

# Whether the files still are what the installation $1 was made from. Its mark is written last, so that an
# installation that was cut short is made again.
made_from() { # installation files...
  cat "${@:2}" | cmp -s - "$1/.made-from"
}
mark() { # installation files...
  cat "${@:2}" >"$1/.made-from"
}

python_files=("$here/python/requirements.txt" "$here/tools/requirements.txt" "$here/schemathesis/requirements.txt")
constraints=$here/constraints.txt
if [[ ! -d $there/wheels ]] || ! made_from "$there/venv" "${python_files[@]}" "$constraints"; then
  python3 -m venv --clear "$there/venv"
  # Kept, because tests install them again where there is no network.
  rm -rf "$there/wheels"
  pip() { "$there/venv/bin/python" -m pip "$@" --quiet --disable-pip-version-check; }
  required=("${python_files[@]/#/--requirement=}")
  pip download --dest "$there/wheels" "${required[@]}" --constraint "$constraints"
  pip install --no-index --find-links "$there/wheels" "${required[@]}"
  mark "$there/venv" "${python_files[@]}" "$constraints"
fi

node_files=("$here/node/package.json" "$here/node/package-lock.json")
if ! made_from "$there/node" "${node_files[@]}"; then
  mkdir -p "$there/node"
  cp "${node_files[@]}" "$there/node"
  npm ci --prefix "$there/node" --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
  mark "$there/node" "${node_files[@]}"
fi
