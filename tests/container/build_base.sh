#!/usr/bin/env bash
# A stand-in for the base image, where none can be pulled: Debian's own Python, put together by debootstrap, as a local image.
#
#   build_base.sh IMAGE CACHE_DIR [buildah config option...]
#
# The root file system is kept in CACHE_DIR; the image is made anew from it, since the options (the caller's environment) may change.
set -euo pipefail

image=$1
cache=$2
shift 2
root=$cache/bookworm-python3

if [ ! -e "$root.complete" ]; then
    rm -rf "$root"
    mkdir -p "$cache"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    touch "$root.complete"
fi

container=$(buildah --storage-driver vfs from scratch)
trap 'buildah --storage-driver vfs rm "$container" >/dev/null' EXIT
mount=$(buildah --storage-driver vfs mount "$container")
cp -a "$root/." "$mount/"
buildah --storage-driver vfs config "$@" "$container"
buildah --storage-driver vfs commit --quiet --format docker "$container" "$image"
