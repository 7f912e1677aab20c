#!/bin/sh
# Write environment/python*.lock anew: for each pinned version all files of the public index, by
# their hashes. What an installation takes is what somebody has looked at, whoever serves it.
# It takes uv. Other indices that uv is told of do not count: their files may be builds of their own.
set -eu
unset UV_INDEX UV_INDEX_URL UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS
if ! command -v uv >/dev/null 2>&1; then
    echo "tandem-hw: locks are made with uv, which was not found (https://docs.astral.sh/uv)" >&2
    exit 1
fi

# What builds the package is installed and locked like everything else.
build="$(sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml)"
for version in 3.10 3.11; do
    echo "$build" | uv --no-config pip compile pyproject.toml - --quiet --extra dev \
        --constraint "environment/python$version.txt" --python-version "$version" --universal \
        --generate-hashes --no-annotate --no-emit-index-url \
        --custom-compile-command "make locks" --output-file "environment/python$version.lock"
done
