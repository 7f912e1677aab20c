#!/bin/sh
# Make a virtual environment with tandem-hw in it: make-venv.sh 3.10 .venv
# An environment that is up to date is used again; a half-made one is made anew.
set -eu
version=$1
folder=$2
constraints="environment/python$version.txt"
stamp="$folder/installed-from"

# The stamp names what was installed: a change of either file makes the environment anew.
wanted="$(cat pyproject.toml "$constraints" | cksum)"
if [ -x "$folder/bin/python" ] && "$folder/bin/python" -c '' 2>/dev/null \
        && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

python="$(environment/find-python.sh "$version")"
echo "Setting up $folder with $python (with Lava this takes some minutes and 6 GB of disk)"
"$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check \
    --constraint "$constraints" --editable '.[dev]'
echo "$wanted" > "$stamp"
