#!/usr/bin/env bash
# apply.sh [PEOPLE [RATE...]]: how fast a first sync of so many people sends its operations to the simulator, with the
# journal on: without a limit, then with each limit of so many requests a second, told by the API's headers alone.
# From the first operation that is sent to the last that is answered; the share of the limit that is used, and how many
# requests were refused for it (429).
set -euo pipefail
people=${1:-10000}
rates=("${@:2}")
[ ${#rates[@]} -gt 0 ] || rates=(100 500)
. "$(dirname "$0")/company.sh"
start_directory "$people"
measure() { # the limit, if there is one
  "$program" sync -c "$work/full.toml" --limit 0 > "$work/out" || { tail "$work/out"; exit 1; }
  "$program" history -c "$work/full.toml" --format json > "$work/history.json"
  python3 - "$work" "$api" "${1:-}" <<'PYTHON'
import datetime, json, sys, urllib.request

work, api, rate = sys.argv[1:]
writes = json.load(open(f"{work}/history.json"))["writes"]
requests = json.load(urllib.request.urlopen(f"{api}/_simulator/requests"))
assert writes and all(write["outcome"] == "done" for write in writes), len(writes)
moment = lambda text: datetime.datetime.fromisoformat(text)
began, ended = min(moment(write["sent_at"]) for write in writes), max(moment(write["answered_at"]) for write in writes)
seconds = (ended - began).total_seconds()
refused = sum(request["status"] == 429 for request in requests)
told = f"{len(writes)} operations in {seconds:.2f} s, {len(writes) / seconds:.0f} a second, {refused} refused with 429"
print(f"limit of {rate} a second: {told}; {len(writes) / seconds / int(rate):.1%} of it used" if rate else f"no limit: {told}")
PYTHON
}
start_organization
measure
for rate in "${rates[@]}"; do
  start_organization --limit "scim=$rate/1"
  measure "$rate"
done
