#!/bin/sh
# rootfs.sh NAME [PACKAGE…]: a root folder of Debian 12 with these packages, below target/rootfs, where it stays for the
# next time; its path is the only line of the standard output. Whoever wants to change it copies it. Needs root and
# debootstrap; takes the machine's Debian mirror.
#
# All of them are made of one, which has nothing but the essential packages, apt and the CAs: that takes half a minute,
# once.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
store=${CARGO_TARGET_DIR:-$here/../../target}/rootfs
mkdir -p "$store"
store=$(cd "$store" && pwd)
name=$1
shift
packages=$(printf '%s\n' "$@" | sort -u | xargs)

# Made anew when the packages or this file change.
key() { printf '%s-%s' "$1" "$({ cat "$here/rootfs.sh"; printf '%s\n' "$2"; } | sha256sum | cut -c 1-12)"; }

mirror=$(apt-get indextargets --format '$(SITE)' | grep '/debian$' | sort -u | head -n 1)
if [ -z "$mirror" ]; then
  echo "rootfs.sh: apt has no Debian mirror, or no lists yet: run apt-get update" >&2
  exit 1
fi
log=$store/$name.log

# make FOLDER COMMAND…: the command fills a folder that gets its name only once it is complete.
make() {
  folder=$1
  shift
  [ ! -d "$folder" ] || return 0
  rm -rf --one-file-system "$folder.part"
  if ! "$@" "$folder.part" >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    exit 1
  fi
  mv "$folder.part" "$folder"
}

slim() {
  rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/* "$1"/usr/share/doc "$1"/usr/share/man "$1"/usr/share/locale
}

base() {
  debootstrap --variant=minbase --include=ca-certificates bookworm "$1" "$mirror"
  slim "$1"
}

with_packages() {
  cp -a "$base" "$1"
  [ -n "$packages" ] || return 0
  # What the machine needs to reach its mirror. It goes again, so that nothing of the machine stays.
  for file in /etc/resolv.conf /etc/hosts /etc/apt/apt.conf.d/99*; do
    [ ! -e "$file" ] || cp -L "$file" "$1$file"
  done
  # No service is started in there.
  printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
  chmod 755 "$1/usr/sbin/policy-rc.d"
  chroot "$1" apt-get -qq update
  # shellcheck disable=SC2086
  chroot "$1" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends --yes $packages
  slim "$1"
  rm -f "$1/usr/sbin/policy-rc.d" "$1/etc/resolv.conf" "$1/etc/hosts" "$1"/etc/apt/apt.conf.d/99*
}

# Tests that run side by side wait for each other here.
exec 9>"$store/.lock"
flock 9
base=$store/$(key base "$mirror")
make "$base" base
root=$store/$(key "$name" "$packages")
make "$root" with_packages
printf '%s\n' "$root"
