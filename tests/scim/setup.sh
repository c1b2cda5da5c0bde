#!/bin/sh
# Makes a virtual environment with the third-party SCIM suite, server and client, or with the packages of another file,
# or keeps one that is complete.
# usage: setup.sh DIR [REQUIREMENTS]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$1 requirements=${2:-$here/requirements.txt}
mkdir -p "$dir"
# One at a time: the tests of several processes may want it at once.
exec 9>"$dir/lock"
flock 9
wanted=$(python3 --version; cat "$requirements")
if [ -x "$dir/bin/python" ] && [ "$(cat "$dir/complete" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi
rm -f "$dir/complete"
python3 -m venv "$dir"
"$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$requirements"
"$dir/bin/python" -m pip check
printf '%s\n' "$wanted" >"$dir/complete"
