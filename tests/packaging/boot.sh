#!/bin/sh
# Runs within the booted system, as root and as its last service: lives a day of an administrator, and writes what is seen
# as lines KEY=VALUE to standard output. The host has made /etc/dirsyncd/config.toml; the sync of it is a year away.
set -u
say() { printf '%s=%s\n' "$1" "$2"; }
show() { systemctl show -P "$1" dirsyncd; }
journal() { journalctl -q -u dirsyncd -o cat; }
# eventually WORDS: waits half a minute until the words, as a command, are true.
eventually() {
  tries=0
  until eval "$1"; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ]; then
      say gave_up_on "$1"
      return 1
    fi
    sleep 0.1
  done
}
# ended N: so many syncs have ended.
ended() { [ "$(journalctl -q -u dirsyncd -o json | grep -c '"DIRSYNCD_DONE"')" -ge "$1" ]; }
# process FIELD: what the kernel says of the daemon.
process() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(show MainPID)/status"; }
as() { setpriv --reuid "$1" --regid "$1" --clear-groups "$2" "$3" 2>/dev/null; }

cd /etc/dirsyncd || exit 1
credentials=/run/credentials/dirsyncd.service

say enabled "$(systemctl is-enabled dirsyncd)"
say at_boot "$(show ActiveState)"
say folder "$(stat -c '%a %U' credentials)"

# Root tries it, and begins with one person.
dirsyncd check >/check.out 2>&1
say check "$? $(grep -c 'credentials: from /etc/dirsyncd/credentials$' /check.out)"
chmod 644 credentials/scim-key
dirsyncd check >/open.out 2>&1
say open_credential "$? $(grep -c 'run `chmod 600 /etc/dirsyncd/credentials/scim-key`' /open.out)"
chmod 600 credentials/scim-key
dirsyncd sync --user ada@example.org >/first.out 2>&1
say first_sync "$? $(stat -L -c %U /var/lib/dirsyncd/dirsyncd.db)"

mv config.toml right.toml
echo nonsense >config.toml
systemctl start dirsyncd
say wrong "$(show Result) $(show ExecMainStatus) $(show NRestarts)"
systemctl reset-failed dirsyncd

# As long as it has not read its configuration, it is not ready.
rm config.toml
mkfifo config.toml
systemctl start --no-block dirsyncd
eventually '[ "$(show MainPID)" != 0 ]'
say before_ready "$(show ActiveState)/$(show SubState)"
cat right.toml >config.toml
eventually '[ "$(show ActiveState)" != activating ]'
say after_ready "$(show ActiveState)/$(show SubState)"
rm config.toml
mv right.toml config.toml

say user "$(stat -c '%U %u' "/proc/$(show MainPID)")"
say rights "$(process CapEff) $(process NoNewPrivs) $(process Seccomp)"
say state "$(stat -L -c '%a %U' /var/lib/dirsyncd) $(stat -L -c %U /var/lib/dirsyncd/dirsyncd.db)"
for name in scim-key ldap-password; do
  say "${name}_of_daemon" "$(as dirsyncd cat $credentials/$name | cmp - credentials/$name && echo read)"
  say "${name}_of_others" "$(as 65534 cat $credentials/$name | wc -c)"
done
say admin_key "$(od -A n -c $credentials/admin-key | xargs -0)"

eventually 'case $(show StatusText) in waiting*) true ;; *) false ;; esac'
say status "$(show StatusText)"
systemctl kill --signal=USR1 dirsyncd
eventually 'ended 1'
# Beside the daemon root may look, with the credentials that the unit has.
dirsyncd plan >/plan.out 2>&1
say plan "$? $(grep -c 'Nothing to do' /plan.out)"

# The daemon of the unit is asked and told things at its socket.
dirsyncd status >/status.out 2>&1
say asked "$? $(grep -c '^The daemon runs since' /status.out)"
dirsyncd pause --why "the network is moved" >/pause.out 2>&1
say pause "$?"
dirsyncd sync --daemon >/paused.out 2>&1
say paused "$? $(grep -c 'the daemon is paused' /paused.out)"
dirsyncd resume >/resume.out 2>&1
say resume "$?"
dirsyncd plan --daemon >/daemon-plan.out 2>&1
say daemon_plan "$? $(grep -c 'Nothing to do' /daemon-plan.out)"
dirsyncd sync --daemon >/daemon-sync.out 2>&1
say daemon_sync "$? $(grep -c 'Done: 0 applied' /daemon-sync.out)"
say of_others "$(setpriv --reuid 65534 --regid 65534 --clear-groups dirsyncd status >/others.out 2>&1; echo $?)"

pid=$(show MainPID)
cp config.toml right.toml
echo nonsense >>config.toml
systemctl reload dirsyncd
code=$?
eventually '[ "$(show ActiveState)" != reloading ]'
say reload_of_wrong "$code $(show ActiveState)"
eventually 'journal | grep -q "is not taken"'
sed 's/^sync = .*/sync = "* * * * * *"/' right.toml >config.toml
systemctl reload dirsyncd
code=$?
eventually '[ "$(show ActiveState)" != reloading ]'
say reload "$code $(show ActiveState)"
eventually 'journal | grep -q "in force$"'
eventually 'ended 3'
say same_process "$([ "$pid" = "$(show MainPID)" ] && echo yes) $(show NRestarts)"

# The watchdog would have ended it by now, had it not been told that all is well.
say watchdog "$(show WatchdogUSec)"
eventually '[ $(($(date +%s) - $(stat -c %Y /proc/'"$pid"'))) -gt 6 ]'
systemctl stop dirsyncd
say stop "$(show ActiveState) $(show Result) $(show ExecMainStatus) $(show NRestarts)"

# Without the account of the package, one is made for as long as it runs, and gets what the other has left.
userdel dirsyncd
cp right.toml config.toml
systemctl start dirsyncd
say dynamic "$(stat -c %u "/proc/$(show MainPID)")"
say dynamic_state "$(stat -L -c %u /var/lib/dirsyncd/dirsyncd.db)"
before=$(journalctl -q -u dirsyncd -o json | grep -c '"DIRSYNCD_DONE"')
systemctl kill --signal=USR1 dirsyncd
eventually "ended $((before + 1))"
systemctl stop dirsyncd
say dynamic_stop "$(show Result) $(show ExecMainStatus)"
journalctl -q -u dirsyncd -o json >/journal.json
say end reached
