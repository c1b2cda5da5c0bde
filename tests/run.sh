#!/usr/bin/env bash
# Runs all tests: installs what they need where it is missing, then cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/install-packages.sh
tests/packaging/setup.sh
# Half of a test is waiting: for a server, a schedule, a process that ends.
export RUST_TEST_THREADS="${RUST_TEST_THREADS:-$((2 * $(nproc)))}"
exec cargo test --locked "$@"
