#!/usr/bin/env bash
# peers.sh [PEOPLE [ROUNDS]]: an unchanged dry run in full against the script that teams write instead
# (benches/peers/ldap3_json.py), on the same slapd in turn: time and peak memory of each, and the ratios.
set -euo pipefail
people=${1:-100000} rounds=${2:-5}
. "$(dirname "$0")/company.sh"
start_directory "$people"
start_organization
python3 -m pip install --quiet --target "$work/python" ldap3==2.9.1
"$program" sync -c "$work/full.toml" --limit 0 > "$work/out" || { tail "$work/out"; exit 1; }
PYTHONPATH=$work/python python3 - "$program" "$work" "$port" "$people" "$rounds" <<'PYTHON'
import os, statistics, subprocess, sys, time

program, work, port, people, rounds = sys.argv[1:4] + [int(n) for n in sys.argv[4:]]
ATTRIBUTES = "entryUUID mail displayName givenName sn title departmentNumber preferredLanguage employeeType".split()
peer = [sys.executable, "benches/peers/ldap3_json.py"]
reading = [f"{work}/state.json", f"ldap://localhost:{port}", f"{work}/slapd/ca.pem", "cn=sync,ou=services,dc=example,dc=org",
           "sync-secret", "ou=people,dc=example,dc=org", "(objectClass=inetOrgPerson)", *ATTRIBUTES]
ours = [program, "plan", "-c", f"{work}/full.toml", "--limit", "0"]

def run(command, expected):
    """Wall time in seconds and peak memory in MiB."""
    with open(f"{work}/out", "w") as out:
        begin = time.monotonic()
        child = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
    text = open(f"{work}/out").read()
    assert os.waitstatus_to_exitcode(status) == 0 and expected in text, text[-2000:]
    return wall, usage.ru_maxrss / 1024

run(peer + ["--write"] + reading, f"{people} people: {people} new")
pairs = []
for _ in range(rounds):
    theirs = run(peer + reading, "0 new, 0 changed, 0 gone")
    pairs.append((theirs, run(ours, "Nothing to do")))
    print("ldap3 and JSON {:.2f} s, {:.0f} MiB; dirsyncd {:.2f} s, {:.0f} MiB".format(*theirs, *pairs[-1][1]))
median = lambda at: statistics.median(ours[at] / theirs[at] for theirs, ours in pairs)
print(f"{people} people: median ratio of time {median(0):.2f}, of memory {median(1):.2f}")
PYTHON
