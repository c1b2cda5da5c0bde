#!/bin/sh
# slapd with the people of people.ldif, on ldaps://:1636 (and ldap://127.0.0.1:1389, for the health check). At its first
# start it makes its data, and in /certificates/ca.pem a CA whose certificate it shows as `openldap`. The password of
# cn=dirsyncd,ou=services is the secret ldap-password.
set -eu
umask 077
data=${DATA:-/data} certificates=${CERTIFICATES:-/certificates} secret=${SECRET:-/run/secrets/ldap-password}
ports=${PORTS:-1389 1636} files=${FILES:-/usr/local/share}
base=dc=example,dc=org
cd "$data"
if [ ! -f complete ]; then
  rm -rf db
  mkdir db
  for name in ca tls; do openssl ecparam -name prime256v1 -genkey -noout -out $name.key; done
  openssl req -x509 -new -key ca.key -days 3650 -subj "/CN=CA of openldap" -out ca.pem
  openssl req -new -key tls.key -subj /CN=openldap -out tls.csr
  echo "subjectAltName=DNS:openldap,DNS:localhost" >names
  openssl x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile names -out tls.pem 2>/dev/null
  cat >slapd.conf <<CONF
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload syncprov
TLSCACertificateFile $data/ca.pem
TLSCertificateFile $data/tls.pem
TLSCertificateKeyFile $data/tls.key
database mdb
suffix "$base"
directory $data/db
maxsize 1073741824
index objectClass,entryUUID,entryCSN,uid,mail,member eq
limits dn.exact="cn=dirsyncd,ou=services,$base" size.prtotal=unlimited size.pr=1000
access to attrs=userPassword by anonymous auth by * none
access to * by dn.children="ou=services,$base" read by * none
overlay syncprov
syncprov-sessionlog 1000
CONF
  {
    cat "$files/people.ldif"
    printf '\ndn: cn=dirsyncd,ou=services,%s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\n' $base
    printf 'cn: dirsyncd\nuserPassword: %s\n' "$(tr -d '\n' <"$secret" | slappasswd -n -T /dev/stdin)"
  } | slapadd -q -f slapd.conf
  touch complete
fi
(umask 022 && cp ca.pem "$certificates/ca.pem")
# -d: it stays in the foreground.
exec slapd -d none -f slapd.conf -h "ldap://127.0.0.1:${ports% *}/ ldaps://:${ports#* }/"
