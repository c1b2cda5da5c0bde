#!/bin/sh
# Installs the Debian packages that the end-to-end tests use (a real slapd, its clients, Samba as a domain controller,
# 389 Directory Server, openssl, setpriv, ip, promtool, python3, what makes and boots a root folder of Debian, buildah, and
# Chromium); does nothing when they are there. No service is started: the tests start servers of their own.
set -eu
missing=
for pair in slapd:slapd ldapmodify:ldap-utils openssl:openssl setpriv:util-linux ip:iproute2 update-ca-certificates:ca-certificates \
  ldbadd:ldb-tools ns-slapd:389-ds-base certutil:libnss3-tools promtool:prometheus \
  chromium-headless-shell:chromium-headless-shell \
  debootstrap:debootstrap buildah:buildah systemd-nspawn:systemd-container dpkg-shlibdeps:dpkg-dev
do
  PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
# What makes of Samba a domain controller are modules without a command of their own.
for package in samba samba-ad-dc samba-ad-provision samba-dsdb-modules samba-vfs-modules winbind
do
  dpkg-query -W -f '${db:Status-Status}' $package 2>/dev/null | grep -qx installed || missing="$missing $package"
done
# The third-party SCIM software goes into a virtual environment.
python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || missing="$missing python3 python3-venv"
[ -n "$missing" ] || exit 0
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
# policy-rc.d (invoke-rc.d(8)) keeps the packages from starting their services; ours goes again afterwards.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
  $as_root chmod 755 $policy
  trap '$as_root rm -f $policy' EXIT
fi
$as_root apt-get -qq update
# shellcheck disable=SC2086
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends --yes $missing
