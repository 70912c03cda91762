#!/usr/bin/env bash
# Run coactseg as a container on a cluster would, without a container: read-only root, a user that /etc/passwd does not
# know, no HOME, no network, 64 MB of /dev/shm, and the environment that Dockerfile sets. Needs bubblewrap.
#
#   test_container.sh BIN [coactseg arguments]      BIN: folder with python and what coactseg needs; the program is this checkout's
#
# Without arguments it segments a coarse example data set, does the same outside, and compares what was written (compare_outputs.py): every
# image and table byte for byte. With arguments it runs those: /bids and /out are there then too.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$(cd "${1:?usage: test_container.sh BIN [arguments]}" && pwd)
shift
compare=
if [[ $# -eq 0 ]]; then
    compare=1
    options=(participant --participant-label 01 03 --nprocs 1)
    set -- segment /bids /out "${options[@]}" --work-dir /scratch
fi

command -v bwrap > /dev/null || {
    echo "test_container.sh: bubblewrap is not installed (package bubblewrap)" >&2
    exit 77
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/out" "$tmp/scratch" "$tmp/scratch-outside"
"$bin/python" "$project/examples/make_dataset.py" "$tmp/bids" --coarseness 2.5 > /dev/null

base=$("$bin/python" -c 'import sys; print(sys.base_prefix)')
venv=$("$bin/python" -c 'import sys; print(sys.prefix)')

weights=/nowhere/hd-bet # named in what is written: the same inside and outside
# The environment of the image, from Dockerfile: NAME=VALUE words of its ENV lines. PATH and what names files of the image differ here.
image_env=()
while IFS='=' read -r name value; do
    image_env+=(--setenv "$name" "$value")
done < <(sed -n '/^ENV /,/[^\\]$/p' "$project/Dockerfile" | grep -oE '[A-Z_]+=[^ \\]+' | grep -vE '^(PATH|HOME|COACTSEG_[A-Z_]*)=')

root=(--ro-bind /usr /usr --ro-bind /etc /etc --proc /proc --dev /dev)
for link in /bin /lib /lib32 /lib64 /sbin; do
    if [[ -L $link ]]; then root+=(--symlink "$(readlink "$link")" "$link"); elif [[ -d $link ]]; then root+=(--ro-bind "$link" "$link"); fi
done

sandbox=(
    bwrap --unshare-all --die-with-parent --new-session --clearenv
    --uid 54321 --gid 54321
    "${root[@]}"
    --tmpfs /tmp --size 67108864 --tmpfs /dev/shm # first: the project itself may lie in /tmp
    --ro-bind "$base" "$base" --ro-bind "$project" "$project" --ro-bind "$venv" "$venv"
    --ro-bind "$tmp/bids" /bids --bind "$tmp/out" /out --bind "$tmp/scratch" /scratch
    --remount-ro /
    --setenv PATH "$bin:/usr/bin:/bin" --setenv PYTHONPATH "$project" --setenv COACTSEG_HD_BET_WEIGHTS "$weights" "${image_env[@]}"
    --chdir /tmp
)

echo "== what the sandbox refuses"
# shellcheck disable=SC2016
"${sandbox[@]}" "$bin/python" - << 'PROBE'
import os, pwd, socket
assert "HOME" not in os.environ
assert os.getuid() == 54321
try:
    pwd.getpwuid(os.getuid())
except KeyError:
    print("user 54321 is unknown")
else:
    raise SystemExit("the user is known")
for folder in ("/", "/usr", "/bids", os.path.dirname(os.path.dirname(os.__file__))):
    try:
        open(os.path.join(folder, "probe"), "w")
    except OSError as error:
        print(folder, "-", error.strerror)
    else:
        raise SystemExit(f"{folder} can be written")
interfaces = [name for _, name in socket.if_nameindex()]
if interfaces != ["lo"]:
    raise SystemExit(f"there is a network: {interfaces}")
print("network - only", *interfaces)
PROBE

echo "== coactseg $*"
"${sandbox[@]}" "$bin/python" -m coactseg_cli "$@"

[[ -e $tmp/out/dataset_description.json ]] || {
    echo "test_container.sh: nothing was written" >&2
    exit 1
}
echo "== written: $(find "$tmp/out" -type f | wc -l) files"

[[ -n $compare ]] || exit 0
echo "== the same outside"
cd "$project"
COACTSEG_HD_BET_WEIGHTS=$weights "$bin/python" -m coactseg_cli segment "$tmp/bids" "$tmp/outside" "${options[@]}" --work-dir "$tmp/scratch-outside"
"$bin/python" "$project/hpc/compare_outputs.py" "$tmp/out" "$tmp/outside" "/bids=$tmp/bids"
