# Takes zizmor, which checks workflows of GitHub, out of its PyPI package; where that has none for this machine, cargo builds
# it. Arguments: its version, and the file that is made.
set -eu
version=$1
place=$2
mkdir -p "$(dirname "$place")"
work=$(mktemp -d "$place.XXXXXX")
trap 'rm -rf "$work"' EXIT
if [ "$(uname -m)" = x86_64 ]; then
    python3 -m venv "$work/venv" >&2
    echo "zizmor==$version --hash=sha256:84a6acb975accc13408786a2bd274b572537ca19c933ebbc13e78f3988562071" > "$work/requirements"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
        --requirement "$work/requirements" >&2
    mv "$work/venv/bin/zizmor" "$place"
else
    cd "$work"
    cargo install --quiet --locked zizmor --version "$version" --root "$work" --target-dir "$work/target" >&2
    mv "$work/bin/zizmor" "$place"
fi
