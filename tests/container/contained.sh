#!/bin/sh
# contained.sh ROOT ARGUMENT…: runs the program of an image's root folder as a runtime of containers would: as PID 1, as
# 10001:10001 without a way to more rights, with a root that nobody can write, but for the volume.
# Needs root.
set -eu
root=$1
shift
mkdir -p "$root/proc" "$root/var/lib/dirsyncd"
# The mounts are this process's own.
# shellcheck disable=SC2016
exec unshare --mount --propagation private --pid --fork --kill-child sh -eu -c '
  root=$1
  shift
  mount --bind "$root" "$root"
  mount -o remount,bind,ro "$root"
  mount -t proc proc "$root/proc"
  mount -t tmpfs -o mode=0700,uid=10001,gid=10001 tmpfs "$root/var/lib/dirsyncd"
  exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/var/lib/dirsyncd setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
    chroot --userspec=10001:10001 "$root" /usr/bin/dirsyncd "$@"
' sh "$root" "$@"
