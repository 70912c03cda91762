#!/usr/bin/env bash
# What Dockerfile and Singularity.def share: install coactseg into an image. Run as root in the project's folder.
#
#   PREFIX                  where to                                     (default /opt/coactseg)
#   PYTHON                  interpreter, 3.11 or later                   (default python3)
#   TORCH_INDEX_URL         index that has the wanted build of torch     (default: pip's own)
#   HD_BET_WEIGHTS_URL      zip of HD-BET's parameter files, file:// too   (default: none are baked in)
#   HD_BET_WEIGHTS_SHA256   its SHA-256, which the builder computed      (required with the URL)
#   MOUNT_ROOT              where the mount points are made              (default /)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
prefix=${PREFIX:-/opt/coactseg}
python=${PYTHON:-python3}

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "install.sh: $python is older than Python 3.11" >&2
    exit 1
}
"$python" -m venv "$prefix"
install=("$prefix/bin/python" -m pip install --no-cache-dir --disable-pip-version-check --constraint constraints.txt)

torch=$(grep -m1 '^torch==' constraints.txt)
"${install[@]}" ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} "$torch"
"${install[@]}" .

# the weights that came with the package are those that its authors listed
models=$("$prefix/bin/python" -P -c 'import coactseg_cli, pathlib; print(pathlib.Path(coactseg_cli.__file__).parent / "models")')
"$here/check_weights.sh" "$models"

weights=$prefix/hd-bet
mkdir -p "$weights"
if [[ -n ${HD_BET_WEIGHTS_URL:-} ]]; then
    : "${HD_BET_WEIGHTS_SHA256:?HD_BET_WEIGHTS_URL needs HD_BET_WEIGHTS_SHA256, computed from the file}"
    "$prefix/bin/python" "$here/fetch_weights.py" "$HD_BET_WEIGHTS_URL" "$HD_BET_WEIGHTS_SHA256" "$weights"
fi

"$prefix/bin/python" "$here/sbom.py" "$prefix/sbom.cdx.json"

# any user may run it; nobody may change it
chmod -R a+rX,go-w "$prefix"
for point in bids out work data scratch models; do
    mkdir -p "${MOUNT_ROOT:-}/$point"
done
