#!/bin/bash
# ds389.sh start DIR PORT TLS_PORT FILE.ldif | again DIR | stop DIR
#
# A private 389 Directory Server on loopback: ldap://127.0.0.1:PORT (StartTLS too) and ldaps://127.0.0.1:TLS_PORT, with a
# certificate of its own CA (DIR/ca.pem). It runs without an installed instance, systemd or dscreate: its configuration
# is the package's template. `cn=Directory Manager` has the password admin-secret; the rest below dc=example,dc=org is
# the LDIF's. Plugins that are on besides the template's: MemberOf, Retro Changelog and Content Synchronization.
#   again   starts the one that was stopped
# Packages: tests/install-packages.sh.
set -euo pipefail
. "$(dirname "$0")/certificates.sh"
verb=$1 dir=$(mkdir -p "$2" && cd "$2" && pwd)
suffix=dc=example,dc=org

# The server's configuration out of the template.
configuration() {
  local names=() name
  for name in schema:config/schema lock:lock tmp:tmp cert:config ldif:ldif bak:bak run:run inst:inst log:log config:config \
    db:db db_home:db
  do
    names+=(-e "s|%${name%%:*}_dir%|$dir/${name##*:}|")
  done
  sed "${names[@]}" -e "s|%ds_port%|$1|; s|%ds_user%|$(id -un)|; s|%fqdn%|localhost|; s|%db_lib%|bdb|" \
    -e "s|%rootdn%|cn=Directory Manager|; s|%ds_passwd%|{CLEAR}admin-secret|; s|%ds_suffix%|$suffix|" \
    -e "s|%ldapi_enabled%|off|; s|%ldapi_autobind%|off|; s|%ldapi%|$dir/run/ldapi|" \
    -e "/^nsslapd-port:/a nsslapd-listenhost: 127.0.0.1\nnsslapd-securelistenhost: 127.0.0.1" \
    -e "/^nsslapd-port:/a nsslapd-security: on\nnsslapd-secureport: $2" \
    -e '/^dn: cn=\(MemberOf\|Retro Changelog\|Content Synchronization\)/,/^$/ s/pluginenabled: off/pluginenabled: on/' \
    -e '/^cn: Retro Changelog Plugin/a nsslapd-attribute: nsuniqueid:targetUniqueId' \
    /usr/share/dirsrv/data/template-dse.ldif
  cat <<LDIF

dn: cn=userroot,cn=ldbm database,cn=plugins,cn=config
objectClass: top
objectClass: extensibleObject
objectClass: nsBackendInstance
cn: userroot
nsslapd-suffix: $suffix
nsslapd-directory: $dir/db/userroot

dn: cn=mapping tree,cn=config
objectClass: top
objectClass: extensibleObject
cn: mapping tree

dn: cn="$suffix",cn=mapping tree,cn=config
objectClass: top
objectClass: extensibleObject
objectClass: nsMappingTree
cn: $suffix
nsslapd-state: backend
nsslapd-backend: userroot
LDIF
}

run() {
  local port
  port=$(cat "$dir/port")
  # One that was killed has left its process id, which may be another's by now.
  find "$dir/lock" -type f -delete
  ns-slapd -D "$dir/config" -i "$dir/run/slapd.pid" >"$dir/slapd.log" 2>&1
  for _ in $(seq 200); do
    ldapsearch -x -LLL -H "ldap://127.0.0.1:$port/" -b "" -s base namingContexts >/dev/null 2>&1 && return
    sleep 0.05
  done
  tail "$dir/slapd.log" "$dir/log/errors" >&2
  echo "ns-slapd did not answer on port $port" >&2; return 1
}

case $verb in
start)
  port=$3 tls_port=$4 ldif=$5
  mkdir -p "$dir"/{lock,tmp,config/schema,ldif,bak,run,inst,log,db}
  echo "$port" > "$dir/port"
  (cd "$dir" && certificates 127.0.0.1)
  certutil -N -d "$dir/config" --empty-password
  certutil -A -d "$dir/config" -n CA -t CT,, -a -i "$dir/ca.pem"
  openssl pkcs12 -export -name Server-Cert -inkey "$dir/tls.key" -in "$dir/tls.pem" -out "$dir/tls.p12" -passout pass:
  pk12util -d "$dir/config" -i "$dir/tls.p12" -W "" >/dev/null
  cp /etc/dirsrv/config/certmap.conf /etc/dirsrv/config/slapd-collations.conf "$dir/config/"
  cp /etc/dirsrv/schema/99user.ldif "$dir/config/schema/"
  configuration "$port" "$tls_port" | cat -s > "$dir/config/dse.ldif"
  ns-slapd ldif2db -D "$dir/config" -n userroot -i "$ldif" >"$dir/import.log" 2>&1 || { tail "$dir/import.log" >&2; exit 1; }
  run ;;
again)
  run ;;
stop)
  # Its data go with the folder, so it need not end gently.
  [ ! -s "$dir/run/slapd.pid" ] || kill -9 "$(cat "$dir/run/slapd.pid")" 2>/dev/null || true ;;
esac
