#!/bin/bash
# samba.sh start DIR ADDRESS FILE.ldif | again DIR | show-deleted DIR NAME | stop DIR
#
# A private Samba domain controller in the place of Active Directory: ldap://ADDRESS (StartTLS too) and ldaps://ADDRESS.
# Its ports are fixed, so each server needs a loopback address of its own. The certificate of its own CA (DIR/ca.pem) is
# for localhost and the address. As in Active Directory, a bind with a password wants TLS. The domain is
# DC=ad,DC=example,DC=org; Administrator@ad.example.org has the password Passw0rd-Admin!; the rest is the LDIF's.
#   again          starts the one that was stopped
#   show-deleted   lets the account of this name read the deleted objects
# Needs root, for the ports. It ends by itself after a quarter of an hour. Packages: tests/install-packages.sh.
set -euo pipefail
. "$(dirname "$0")/certificates.sh"
verb=$1 dir=$(mkdir -p "$2" && cd "$2" && pwd)
sam=$dir/private/sam.ldb domain=DC=ad,DC=example,DC=org

run() {
  samba -i -M single --maximum-runtime=900 -s "$dir/etc/smb.conf" </dev/null >"$dir/samba.log" 2>&1 &
  echo $! > "$dir/pid"
  local address
  address=$(cat "$dir/address")
  for _ in $(seq 400); do
    ldapsearch -x -LLL -H "ldap://$address/" -b "" -s base defaultNamingContext >/dev/null 2>&1 && return
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.05
  done
  cat "$dir/samba.log" >&2
  echo "samba did not answer on $address" >&2; return 1
}

case $verb in
start)
  address=$3 ldif=$4
  echo "$address" > "$dir/address"
  samba-tool domain provision --server-role=dc --use-rfc2307 --dns-backend=NONE --realm=AD.EXAMPLE.ORG --domain=ADEX \
    --host-name=dc1 --host-ip="$address" --adminpass='Passw0rd-Admin!' --targetdir="$dir" \
    --option="interfaces=$address/8" --option="bind interfaces only=yes" >"$dir/provision.log" 2>&1 ||
    { cat "$dir/provision.log" >&2; exit 1; }
  (cd "$dir" && certificates "$address")
  # Only LDAP, and no file outside the folder.
  sed -i '/server services =/d' "$dir/etc/smb.conf"
  sed -i "/^\[global\]/r /dev/stdin" "$dir/etc/smb.conf" <<CONF
	server services = ldap
	disable netbios = yes
	log file = $dir/log.%m
	pid directory = $dir/run
	ncalrpc dir = $dir/ncalrpc
	tls certfile = $dir/tls.pem
	tls keyfile = $dir/tls.key
	tls cafile = $dir/ca.pem
CONF
  mkdir -p "$dir/run"
  ldbadd -H "$sam" "$ldif" >"$dir/add.log" 2>&1 || true
  # It ends well also when it has stopped at an entry.
  grep -q successfully "$dir/add.log" || { cat "$dir/add.log" >&2; exit 1; }
  run ;;
again)
  run ;;
show-deleted)
  sid=$(ldbsearch -H "$sam" "(sAMAccountName=$3)" objectSid | sed -n 's/^objectSid: //p')
  ldbmodify -H "$sam" --controls=show_deleted:1,sd_flags:1:4 >/dev/null <<LDIF
dn: CN=Deleted Objects,$domain
changetype: modify
replace: nTSecurityDescriptor
nTSecurityDescriptor: O:SYG:SYD:PAI(A;CI;RPLC;;;$sid)(A;;RPWPCCDCLCRCWOWDSDSW;;;SY)(A;;RPLC;;;BA)
LDIF
  ;;
stop)
  # Its data go with the folder, so it need not end gently.
  [ ! -s "$dir/pid" ] || kill -9 "$(cat "$dir/pid")" 2>/dev/null || true ;;
esac
