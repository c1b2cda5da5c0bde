#!/bin/bash
# contained.sh [OPTION…] ROOT COMMAND…: runs a command in an image's root folder as a runtime of containers would: as PID 1,
# without a way to more rights, on a root that nobody can write, in a network of its own.
#
#   -u UID:GID   whom it runs as        -e NAME=VALUE   a variable of its environment
#   -n PID       in the network of this process
#   -v SOURCE:TARGET:rw|ro   a file or folder from outside; a folder that is new begins as what the image has there
#   -t TARGET:OPTIONS        a tmpfs
#
# Needs root.
set -euo pipefail
user=0:0 network= environment=() places=()
while getopts u:n:e:v:t: option; do
  case $option in
    u) user=$OPTARG ;;
    n) network=$OPTARG ;;
    e) environment+=("$OPTARG") ;;
    v) places+=("$OPTARG") ;;
    t) places+=(":$OPTARG") ;;
    *) exit 2 ;;
  esac
done
if [ -z "${CONTAINED:-}" ]; then
  own=(--net) other=()
  [ -z "$network" ] || own=() other=(nsenter --target "$network" --net)
  CONTAINED=yes exec "${other[@]}" unshare --mount --propagation private --pid --fork --kill-child "${own[@]}" "$0" "$@"
fi
shift $((OPTIND - 1))
root=$1
shift
[ -n "$network" ] || ip link set lo up
umask 022
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero full random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s /proc/self/fd/0 "$root/dev/stdin"
for place in "${places[@]}"; do
  IFS=: read -r source target options <<<"$place"
  if [ -z "$source" ]; then
    mkdir -p "$root$target"
    mount -t tmpfs -o "$options" tmpfs "$root$target"
    continue
  fi
  if [ -f "$source" ]; then
    mkdir -p "$(dirname "$root$target")"
    touch "$root$target"
  else
    mkdir -p "$root$target"
    [ -d "$source" ] || cp -a "$root$target" "$source"
  fi
  mount --bind "$source" "$root$target"
  mount -o "remount,bind,$options" "$root$target"
done
mount -o remount,bind,ro "$root"
exec env -i "${environment[@]}" setpriv --no-new-privs --bounding-set=-all,+sys_chroot,+setuid,+setgid \
  unshare --root="$root" --wd=/ --setuid "${user%:*}" --setgid "${user#*:}" -- "$@"
