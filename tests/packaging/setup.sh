#!/bin/sh
# Builds cargo-deb below the target folder, or keeps one that is there. Without its default features it takes half the
# time, and calls xz instead of having one of its own; nor does anybody debug it.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
version=3.8.0
tools=${CARGO_TARGET_DIR:-$here/../../target}/tools
if [ "$("$tools/bin/cargo-deb" --version 2>/dev/null)" != $version ]; then
  CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --locked --debug --no-default-features --version $version --root "$tools" cargo-deb
fi
