#!/bin/sh
# Installs PyPI prusalink 0.8.1 into a virtual environment that tests/process_pylink.rs uses. Safe to run again: does nothing
# when it is already there. Needs root only where Debian packages are missing (libcap headers to build python-prctl,
# libmagic, libturbojpeg, venv). Place: $PRINTERNIZER_CACHE, else ~/.cache/printernizer.
set -eu
version=0.8.1
place="${PRINTERNIZER_CACHE:-$HOME/.cache/printernizer}/prusalink-$version"
if [ -e "$place/installed" ]; then
    exit 0
fi
missing=""
for package in gcc libcap-dev libmagic1 libturbojpeg0 python3-dev python3-venv; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-remove --no-install-recommends $missing
fi
# Its pinned pydantic 1.10.12 does not run on Python 3.12 and newer.
python=""
for candidate in python3.11 python3.10 python3.9 python3; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info < (3, 12))' 2>/dev/null; then
        python="$candidate"
        break
    fi
done
if [ -z "$python" ]; then
    echo "prusalink $version needs Python 3.9 to 3.11 (Debian 12 has 3.11): install one and run this again" >&2
    exit 1
fi
rm -rf "$place"
mkdir -p "$(dirname "$place")"
"$python" -m venv "$place"
"$place/bin/pip" install --quiet "prusalink==$version"
touch "$place/installed"
