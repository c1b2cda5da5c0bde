# Sourced by the measurements: a directory of so many people in a real slapd, an organization in the simulator, and a
# configuration of both below "$work". All of it ends with the script. PROGRAM may name a dirsyncd that is built already.
cd "$(dirname "$0")/.."
tests/install-packages.sh
[ -n "${PROGRAM:-}" ] || cargo build --release --locked
program=${PROGRAM:-$PWD/target/release/dirsyncd}
work=$(mktemp -d)
simulator=
stop() {
  end_organization
  tests/support/slapd.sh stop "$work/slapd"
  rm -rf "$work"
}
trap stop EXIT
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# start_directory PEOPLE
start_directory() {
  port=$(free_port)
  python3 benches/people.py "$1" > "$work/people.ldif"
  SLAPD_EDIT='s/^maxsize .*/maxsize 17179869184/' PATH=$PATH:/usr/sbin \
    tests/support/slapd.sh start "$work/slapd" "$port" "$(free_port)" "$work/people.ldif"
  rm "$work/people.ldif"
}

# start_organization [OPTION...]: a new one, and the configuration that reaches it in full.toml and changes.toml.
start_organization() {
  end_organization
  rm -rf "$work/organization" "$work/organization.out" "$work"/dirsyncd.db*
  "$program" simulate --state "$work/organization" --domain example.org --listen "127.0.0.1:$(free_port)" "$@" > "$work/organization.out" &
  simulator=$!
  until grep -qs admin_key "$work/organization.out"; do sleep 0.1; done
  api=$(sed -n 's/^api = "\(.*\)"/\1/p' "$work/organization.out")
  (umask 077 && echo sync-secret > "$work/password")
  (umask 077 && cat > "$work/full.toml") <<TOML
database = "dirsyncd.db"
$(sed -n '/^\[organization\]/,$p' "$work/organization.out")
[[source]]
preset = "openldap"
url = "ldap://127.0.0.1:$port"
ca_file = "slapd/ca.pem"
bind_dn = "cn=sync,ou=services,dc=example,dc=org"
password = { file = "password" }
base = "ou=people,dc=example,dc=org"
incremental = false
[source.mapping]
active = { expr = 'attr("employeeType") != "leaver"' }
TOML
  (umask 077 && sed 's/^incremental = false/incremental = true/' "$work/full.toml" > "$work/changes.toml")
}

end_organization() {
  [ -z "$simulator" ] || { kill "$simulator" && wait "$simulator" || true; }
  simulator=
}
