#!/bin/bash
# Builds and tests the last commit on Debian 13, in a chroot below build/debian13 made by debootstrap.
# As root; kept between runs, so that the second run is quicker: "debian13.sh clean" removes it.
# "debian13.sh deb" makes a package there and prints its path.  SUITE=bookworm: Debian 12 instead.
# All mounts and processes live in namespaces of their own and are gone when this ends, however it ends.
# IN_CHROOT=1 tells the tests where they are.  DEBIAN_MIRROR=url: absent: as for wolfSSL.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu
cd "$(dirname "$0")/.."

. tests/debootstrap.sh
suite=${SUITE:-trixie}
seconds=${SECONDS_MAX:-3000}
place=build/debian13
[ $suite = trixie ] || place=build/$suite
root=$PWD/$place/root

if [ "${1:-}" = clean ]; then
	rm -rf --one-file-system $place
	exit
fi
if [ "$(id -u)" != 0 ]; then
	echo "debian13.sh: needs root, for chroot and mounts" >&2
	exit 1
fi
src/deps/apt.sh debootstrap git util-linux

# The machine's way to the network, and a clean clone; wolfSSL stays from the last run.
fill_root()
{
	use_network "$root"
	rm -rf --one-file-system "$root/new"
	git clone -q . "$root/new"
	mkdir -p "$root/new/build"
	if [ -d "$root/sluice/build/deps" ]; then
		mv "$root/sluice/build/deps" "$root/new/build/"
	fi
	rm -rf --one-file-system "$root/sluice"
	mv "$root/new" "$root/sluice"
}

[ -e "$root/.made" ] || make_root "$suite" "$root" make,git,ca-certificates
fill_root

inside='
set -eu
export IN_CHROOT=1 LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset MAKEFLAGS MAKELEVEL MFLAGS BUILD SAN SLUICE
cd /sluice
make deps
gcc --version | head -n 1
clang --version | head -n 1
echo "== clang: build and unit tests"
make CC=clang BUILD=build/clang WERROR=1 all check
echo "== gcc: all tests"
exec make WERROR=1 test
'
[ "${1:-}" != deb ] || inside='
set -eu
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset MAKEFLAGS MAKELEVEL MFLAGS BUILD SAN SLUICE
cd /sluice
make deb >&2
echo "$ROOT/sluice/$(echo build/deb/*.deb)"
'
# /tmp and /dev/shm as tests expect them; /sys for cgroups and the number of cores.  The root is
# changed by pivot_root: podman unpacks layers in a root of its own, which a mere chroot refuses.
export ROOT=$root
exec timeout --foreground --kill-after=20 "$seconds" \
	unshare --mount --pid --fork --kill-child --propagation private \
	bash -eu -c '
	root=$1
	mount --bind "$root" "$root"
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
	mkdir -p "$root/dev/shm" "$root/dev/pts"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
	mount -t devpts -o ptmxmode=666 devpts "$root/dev/pts"
	mkdir -p "$root/.old"
	cd "$root"
	pivot_root . .old
	exec chroot . bash -c "umount -l /.old; $2"
	' debian13 "$root" "$inside"
