#!/bin/bash
# slapd.sh start DIR PORT TLS_PORT FILE.ldif | stop DIR | certify DIR NOT_BEFORE NOT_AFTER
#
# A private slapd on loopback: ldap://127.0.0.1:PORT (StartTLS too) and ldaps://127.0.0.1:TLS_PORT.
# The certificate of its own CA (DIR/ca.pem) is for localhost, ldap.example.org and 127.0.0.1;
# ldaps://127.0.0.2:TLS_PORT shows the same one, so there it is for another name. After `certify`, the next start shows one that is valid between the two
# times (YYYYMMDDHHMMSSZ). ldapi://DIR/run/ldapi knows the Unix user that runs it as cn=sync, and DIR/client.pem with
# DIR/client.key is a certificate for cn=sync as well (DIR/stranger.* is one for nobody). Below dc=example,dc=org:
#   cn=admin                  admin-secret    may change everything
#   cn=sync,ou=services       (from the LDIF) reads all, paged without limit
#   cn=limited,ou=services    (from the LDIF) reads all, but gets five entries of a search at most
# What is below ou=hidden is there for nobody to read. Dynamic groups (groupOfURLs) are expanded.
# SLAPD_EDIT may hold a sed script that changes its configuration.
# Packages: tests/install-packages.sh.
set -euo pipefail
verb=$1 dir=$(mkdir -p "$2" && cd "$2" && pwd)

. "$(dirname "$0")/certificates.sh"

case $verb in
start)
  port=$3 tls_port=$4 ldif=$5
  mkdir -p "$dir/db" "$dir/run"
  if [ ! -f "$dir/ca.pem" ]; then (cd "$dir" && certificates 127.0.0.1); fi
  cat > "$dir/slapd.conf" <<CONF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/dyngroup.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
moduleload memberof
moduleload refint
moduleload dynlist
pidfile $dir/run/slapd.pid
argsfile $dir/run/slapd.args
TLSCACertificateFile $dir/ca.pem
TLSCertificateFile $dir/tls.pem
TLSCertificateKeyFile $dir/tls.key
authz-regexp "^gidNumber=$(id -g)[+]uidNumber=$(id -u),cn=peercred,cn=external,cn=auth$" "cn=sync,ou=services,dc=example,dc=org"
authz-regexp "^cn=client,o=example$" "cn=sync,ou=services,dc=example,dc=org"
sizelimit 500
threads 4
database mdb
suffix "dc=example,dc=org"
directory $dir/db
maxsize 1073741824
dbnosync
rootdn "cn=admin,dc=example,dc=org"
rootpw admin-secret
index objectClass,entryUUID,entryCSN,uid,mail,member eq
limits dn.exact="cn=sync,ou=services,dc=example,dc=org" size.soft=500 size.hard=unlimited size.prtotal=unlimited size.pr=1000
limits dn.exact="cn=limited,ou=services,dc=example,dc=org" size.soft=5 size.hard=5 size.prtotal=5
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree="ou=hidden,dc=example,dc=org" by * disclose
access to * by dn.children="ou=services,dc=example,dc=org" read by * none
overlay syncprov
syncprov-sessionlog 1000
overlay memberof
overlay refint
overlay dynlist
dynlist-attrset groupOfURLs memberURL member
CONF
  sed -i "${SLAPD_EDIT:-}" "$dir/slapd.conf"
  if [ ! -f "$dir/db/data.mdb" ]; then slapadd -q -f "$dir/slapd.conf" -l "$ldif"; fi
  slapd -f "$dir/slapd.conf" \
    -h "ldap://127.0.0.1:$port/ ldaps://127.0.0.1:$tls_port/ ldaps://127.0.0.2:$tls_port/ ldapi://${dir//\//%2F}%2Frun%2Fldapi"
  for _ in $(seq 200); do
    ldapsearch -x -LLL -H "ldap://127.0.0.1:$port/" -b "" -s base namingContexts >/dev/null 2>&1 && exit 0
    sleep 0.05
  done
  echo "slapd did not answer on port $port" >&2; exit 1 ;;
certify)
  cd "$dir"
  : > index.txt
  rm -f serial
  cat > ca.conf <<CONF
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = DNS:localhost, IP:127.0.0.1
CONF
  openssl ca -batch -config ca.conf -create_serial -cert ca.pem -keyfile ca.key -in tls.csr -out tls.pem -notext \
    -startdate "$3" -enddate "$4" 2>openssl.log ;;
stop)
  # Its data go with the folder, so it need not end gently (which takes it more than a second).
  [ ! -s "$dir/run/slapd.pid" ] || kill -9 "$(cat "$dir/run/slapd.pid")" 2>/dev/null || true ;;
esac
