#!/usr/bin/env bash
# pull.sh [PEOPLE [ROUNDS]]: an unchanged dry run against `ldapsearch` reading the same entries and attributes, from the
# same slapd, in turn: wall time of each, their ratio, and the peak memory of dirsyncd. First in full, then of what
# changed, which are the titles of 100 people, and what share of the time in full that takes. One in 40 is a leaver who
# has no account, of whom each run looks for one: the last rounds have them left out by the filter. The first sync that
# comes before is told as well.
set -euo pipefail
people=${1:-100000} rounds=${2:-7}
. "$(dirname "$0")/company.sh"
start_directory "$people"
start_organization
python3 - "$program" "$work" "$port" "$people" "$rounds" <<'PYTHON'
import os, resource, statistics, subprocess, sys, time

program, work, port, people, rounds = sys.argv[1:3] + [int(n) for n in sys.argv[3:6]]
ATTRIBUTES = "entryUUID mail displayName cn givenName sn title departmentNumber ou o preferredLanguage telephoneNumber pwdAccountLockedTime employeeType"

def run(command, **more):
    """Wall time in seconds, peak memory in MiB, and the output."""
    with open(f"{work}/out", "w") as out:
        begin = time.monotonic()
        child = subprocess.Popen(command, stdout=out, **more)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - begin
    text = open(f"{work}/out").read()
    assert os.waitstatus_to_exitcode(status) == 0, text[-2000:]
    return wall, usage.ru_maxrss / 1024, text

def ldapsearch():
    command = ["ldapsearch", "-x", "-ZZ", "-LLL", "-H", f"ldap://127.0.0.1:{port}", "-D", "cn=sync,ou=services,dc=example,dc=org",
               "-w", "sync-secret", "-b", "ou=people,dc=example,dc=org", "-E", "pr=1000/noprompt", "(objectClass=inetOrgPerson)"]
    begin = time.monotonic()
    subprocess.run(command + ATTRIBUTES.split(), stdout=subprocess.DEVNULL, check=True, env=os.environ | {"LDAPTLS_CACERT": f"{work}/slapd/ca.pem"})
    return time.monotonic() - begin

def dirsyncd(verb, config, *more):
    return run([program, verb, "-c", f"{work}/{config}", "--limit", "0", *more])

def change(first):
    """Gives 100 of the staff another title, beginning with this one of the people."""
    chosen = [n for n in range(first, people, people // 200) if n % 40 != 11][:100]
    units = ["Engineering", "Sales", "Finance", "Legal"]
    ldif = "".join(f"dn: uid=u{n:07},ou={units[n % 4]},ou=people,dc=example,dc=org\nchangetype: modify\nreplace: title\ntitle: Head of {n}\n\n" for n in chosen)
    subprocess.run(["ldapmodify", "-x", "-H", f"ldap://127.0.0.1:{port}", "-D", "cn=admin,dc=example,dc=org", "-w", "admin-secret"],
                   input=ldif.encode(), stdout=subprocess.DEVNULL, check=True)

wall, memory, text = dirsyncd("sync", "changes.toml")
print(f"first sync of {people}: {wall:.1f} s, {memory:.0f} MiB; {text.strip().splitlines()[-1]}")
config = open(f"{work}/changes.toml").read()
with open(os.open(f"{work}/staff.toml", os.O_CREAT | os.O_WRONLY, 0o600), "w") as staff:
    staff.write(config.replace("incremental = true", 'incremental = true\nfilter = "(&(objectClass=inetOrgPerson)(!(employeeType=leaver)))"'))
times = {}
for config, name in [("full.toml", "in full"), ("changes.toml", "what changed"), ("staff.toml", "what changed, without leavers")]:
    changed = 0 if config == "full.toml" else 100
    if config == "staff.toml":
        dirsyncd("sync", config, "--accept-scope-change")
    if changed:
        change(0 if config == "changes.toml" else 3)
    pairs = []
    for _ in range(rounds):
        theirs = ldapsearch()
        ours, memory, text = dirsyncd("plan", config)
        assert (f"{changed} to update" if changed else "Nothing to do") in text, text
        assert ("Read what changed (100)" in text) == (changed > 0), text
        pairs.append((theirs, ours, memory))
    for theirs, ours, memory in pairs:
        print(f"{name}: ldapsearch {theirs:.2f} s, dirsyncd {ours:.2f} s, ratio {ours / theirs:.2f}, {memory:.0f} MiB")
    ratio = statistics.median(ours / theirs for theirs, ours, _ in pairs)
    print(f"{name}: median ratio {ratio:.2f}, most memory {max(m for *_, m in pairs):.0f} MiB")
    times[name] = statistics.median(ours for _, ours, _ in pairs)
    if changed:
        print(f"{name}: {times[name] / times['in full']:.1%} of the time in full")
PYTHON
