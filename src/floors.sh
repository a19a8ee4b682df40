#!/bin/sh
# Makes the include folders of the floors: OUT/<floor>/<floor> -> SRC/<floor>. See meson.build here.
set -eu
src=$1 out=$2
shift 2
for floor in "$@"; do
        mkdir -p "$out/$floor"
        ln -sfn "$src/$floor" "$out/$floor/$floor"
done
