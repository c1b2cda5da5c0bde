#!/bin/sh
# Has schemathesis ask a daemon all that docs/openapi.json lets and does not let one ask, and compare the answers with it.
# usage: TOKEN=… suite.sh VENV URL
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cat >schemathesis.toml <<CONFIG
headers = { Authorization = "Bearer \${TOKEN}" }
max-failures = 5
CONFIG
exec "$1/bin/st" --config-file schemathesis.toml run "$here/../../docs/openapi.json" --url "$2" \
    --checks all --max-examples 8 --request-timeout 20 --seed 7 --suppress-health-check all --warnings off
