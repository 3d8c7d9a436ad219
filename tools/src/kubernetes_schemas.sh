# Takes the JSON schemas of one version of Kubernetes out of the PyPI package kubernetes-validate, and lays them down as
# kubeconform looks for them. Arguments: version of the package, of Kubernetes, and the directory that is made.
set -eu
version=$1
kubernetes=$2
place=$3
mkdir -p "$(dirname "$place")"
work=$(mktemp -d "$place.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" >&2
echo "kubernetes-validate==$version --hash=sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9" > "$work/requirements"
"$work/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "$work/requirements" --dest "$work/package" >&2
mkdir -p "$work/schemas/v$kubernetes-standalone-strict"
python3 - "$work" "$kubernetes" >&2 <<'PYTHON'
import glob, os, re, sys, zipfile

work, kubernetes = sys.argv[1:]
target = os.path.join(work, "schemas", f"v{kubernetes}-standalone-strict")
folder = f"/v{kubernetes}-local-strict/"
with zipfile.ZipFile(glob.glob(os.path.join(work, "package", "*.whl"))[0]) as package:
    names = [name for name in package.namelist() if folder in name and name.endswith(".json")]
    if not names:
        sys.exit(f"the package has no schemas of Kubernetes {kubernetes}")
    for name in names:
        text = package.read(name).decode()
        # References lead to the file beside it, and no schema of schemas is fetched.
        text = text.replace('"/api/_definitions.json#', '"_definitions.json#')
        text = re.sub(r'"\$schema": *"[^"]*",?', "", text)
        with open(os.path.join(target, os.path.basename(name)), "w") as file:
            file.write(text)
PYTHON
# Another process may have been quicker.
mv -T "$work/schemas" "$place" || test -d "$place"
