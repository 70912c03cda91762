#!/usr/bin/env bash
# Check packaged weights: every weights file is listed in SHA256SUMS, and every listed file has that hash.
#   check_weights.sh FOLDER
# SHA256SUMS is made from the files themselves:  cd FOLDER && sha256sum -- *.safetensors > SHA256SUMS
set -euo pipefail

cd "${1:?usage: check_weights.sh FOLDER}"
[[ -s SHA256SUMS ]] || {
    echo "check_weights.sh: $PWD has no SHA256SUMS" >&2
    exit 1
}
sha256sum --check --strict --quiet SHA256SUMS
shopt -s nullglob
found=0
for file in *.safetensors *.pth; do
    grep -qE "^[0-9a-f]{64} [ *]${file//./\\.}\$" SHA256SUMS || {
        echo "check_weights.sh: $PWD/$file is not listed in SHA256SUMS" >&2
        exit 1
    }
    found=$((found + 1))
done
if ((found == 0)); then
    echo "check_weights.sh: $PWD holds no weights" >&2
    exit 1
fi
echo "check_weights.sh: $found weights file(s) in $PWD are as listed"
