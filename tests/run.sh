#!/usr/bin/env bash
# Runs all tests: installs what they need where it is missing, then cargo test.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/install-packages.sh
tests/packaging/setup.sh
exec cargo test --locked "$@"
