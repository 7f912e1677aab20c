#!/bin/sh
# Print a Python interpreter of the version asked for: find-python.sh 3.10
# Tried in this order: $PYTHON, python3.10 on the PATH, pyenv, uv. Each is run before it is believed,
# since a pyenv shim can be on the PATH for a version that is not switched on.
set -u
version=$1

is_wanted() {
    [ -n "$1" ] && [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$version" ]
}

found() {
    command -v "$1"
    exit 0
}

if [ -n "${PYTHON:-}" ] && is_wanted "$PYTHON"; then
    found "$PYTHON"
fi

is_wanted "python$version" && found "python$version"

if command -v pyenv >/dev/null 2>&1; then
    for name in $(pyenv versions --bare 2>/dev/null | grep "^$version\.[0-9]*$" | sort -t. -k3,3nr); do
        candidate="$(pyenv prefix "$name")/bin/python"
        is_wanted "$candidate" && found "$candidate"
    done
fi

if command -v uv >/dev/null 2>&1; then
    candidate="$(uv python find "$version" 2>/dev/null)"
    is_wanted "$candidate" && found "$candidate"
fi

{
    echo "tandem-hw: no Python $version was found."
    [ -n "${PYTHON:-}" ] && echo "  PYTHON is set to $PYTHON, which is not a Python $version."
    echo "  Lava runs on Python 3.10 only. Get Python $version in one of these ways and run make again:"
    echo "    uv python install $version          (https://docs.astral.sh/uv)"
    echo "    pyenv install $version              (https://github.com/pyenv/pyenv)"
    echo "    conda create -n python$version python=$version, then: make PYTHON=.../bin/python"
    echo "  or name one that you have: make PYTHON=/path/to/python$version"
} >&2
exit 1
