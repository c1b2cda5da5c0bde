#!/bin/sh
# build.sh [PROGRAM]: builds the image localhost/dirsyncd without a container engine and without a registry of images,
# by buildah in a chroot on a base of debootstrap, and runs the demo in it as its user. PROGRAM is a compiled dirsyncd for
# Debian 12; without one it is compiled here. Needs root, buildah and debootstrap. With an engine, `docker build` does it:
# see Containerfile.
#
# Storage of buildah: target/containers ($STORAGE says otherwise). $IMAGE is another name, $PEOPLE the people of the demo.
set -eu
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}
image=${IMAGE:-localhost/dirsyncd}
storage=${STORAGE:-$target/containers}
mkdir -p "$storage"
storage=$(cd "$storage" && pwd)
step() { printf '\n=== %s (%s s)\n' "$1" "$(($(date +%s) - began))"; }
began=$(date +%s)

# No engine's storage is touched. vfs is what works everywhere.
buildah() { command buildah --root "$storage/root" --runroot "$storage/run" --storage-driver vfs "$@"; }

if [ $# -eq 0 ]; then
  step "the program"
  cargo build --locked --release
  set -- "$target/release/dirsyncd"
fi

step "the base"
rootfs=$(tests/support/rootfs.sh image)
base=localhost/$(basename "$rootfs")
if ! buildah inspect --type image "$base" >/dev/null 2>&1; then
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$rootfs" / >/dev/null
  buildah commit --quiet "$container" "$base" >/dev/null
  buildah rm "$container" >/dev/null
fi

step "the image"
context=$(mktemp -d)
container=
trap 'rm -rf "$context"; [ -z "$container" ] || buildah rm "$container" >/dev/null' EXIT
# What a debugger needs would be most of the image.
strip -o "$context/dirsyncd" "$1"
chmod 755 "$context/dirsyncd"
# Health checks are in Docker's format only.
buildah bud --isolation chroot --pull-never --network host --format docker --quiet \
  --build-arg DEBIAN="$base" \
  --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
  --build-arg REVISION="$(git -c safe.directory='*' rev-parse HEAD 2>/dev/null || echo unknown)" \
  --file deploy/container/Containerfile --target given --tag "$image" "$context" >/dev/null
# Images of former times, which have lost their name to this one.
buildah rmi --prune --force >/dev/null

step "the demo in it"
container=$(buildah from --pull-never "$image")
buildah run --isolation chroot --network host "$container" -- /usr/bin/dirsyncd demo --people "${PEOPLE:-200}"
step "done"
