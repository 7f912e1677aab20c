#!/bin/sh
# Make a virtual environment with tandem-hw in it: make-venv.sh 3.10 .venv
# An environment that is up to date is used again; a half-made one is made anew.
# With HASHES=yes nothing is installed but the very files of the lock, with HASHES=no whatever has
# the pinned versions. By default the first is done, unless pip is set to other places than the
# public index: what these hold under the same versions may be builds of their own.
set -eu
version=$1
folder=$2
constraints="environment/python$version.txt"
lock="environment/python$version.lock"
stamp="$folder/installed-from"

# The stamp names what was installed: a change of either file makes the environment anew.
wanted="$(cat pyproject.toml "$constraints" | cksum)"
locked="$wanted, $(cksum < "$lock")"
if [ -x "$folder/bin/python" ] && "$folder/bin/python" -c '' 2>/dev/null; then
    installed="$(cat "$stamp" 2>/dev/null || true)"
    [ "$installed" = "$locked" ] && exit 0
    [ "$installed" = "$wanted" ] && [ "${HASHES:-}" != yes ] && exit 0
fi

python="$(environment/find-python.sh "$version")"
echo "Setting up $folder with $python (with Lava this takes some minutes and 6 GB of disk)"
"$python" -m venv --clear "$folder"

install() {
    "$folder/bin/python" -m pip install -qq --disable-pip-version-check "$@"
}

has_other_places() {
    # Read to its end: pip says an error where nobody listens any more.
    settings=$("$folder/bin/python" -m pip config list)
    echo "$settings" | grep -Eq '\.(extra-)?index-url=|\.find-links=|\.no-index='
}

if [ -z "${HASHES:-}" ] && has_other_places; then
    echo "pip is set to other places than the public index: versions are pinned, their files are not"
    echo "(make setup HASHES=yes takes the files of $lock alone)"
    HASHES=no
fi
if [ "${HASHES:-yes}" = no ]; then
    install --constraint "$constraints" --editable '.[dev]'
    echo "$wanted" > "$stamp"
    exit 0
fi
if ! install --no-deps --require-hashes --requirement "$lock"; then
    {
        echo "tandem-hw: the index here has other files than $lock, or lacks some."
        echo "  If you trust it, take what has the same versions: make setup HASHES=no"
    } >&2
    exit 1
fi
# The lock has what builds the package, so nothing else is fetched for that.
install --no-deps --no-build-isolation --editable .
echo "$locked" > "$stamp"
