#!/bin/sh
# prepare.sh: what compose.yaml mounts, in deploy/container/private: the configuration and two made-up secrets, which
# belong to the user of the image and are readable by it alone. Needs root, as others' files are not believed by dirsyncd.
# What is there is kept.
set -eu
umask 077
cd "$(dirname "$0")"
private=${PRIVATE:-private}
mkdir -p "$private"
for name in scim-key ldap-password; do
  [ -s "$private/$name" ] || od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' >"$private/$name"
done
[ -s "$private/config.toml" ] || cp config.toml "$private/config.toml"
chmod 400 "$private"/*
chown 10001:10001 "$private"/*
chmod 711 "$private"
