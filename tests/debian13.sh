#!/bin/bash
# Builds and tests the last commit on Debian 13, in a chroot below build/debian13 made by debootstrap.
# As root; kept between runs, so that the second run is quicker: "debian13.sh clean" removes it.
# All mounts and processes live in namespaces of their own and are gone when this ends, however it ends.
# IN_CHROOT=1 tells the tests where they are.  DEBIAN_MIRROR=url: absent: as for wolfSSL.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu
cd "$(dirname "$0")/.."

suite=trixie
seconds=${SECONDS_MAX:-3000}
root=$PWD/build/debian13/root

if [ "${1:-}" = clean ]; then
	rm -rf --one-file-system build/debian13
	exit
fi
if [ "$(id -u)" != 0 ]; then
	echo "debian13.sh: needs root, for chroot and mounts" >&2
	exit 1
fi
src/deps/apt.sh debootstrap git util-linux

mirror()
{
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
		awk -v release="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)" \
			'$2 == release { print $1; exit }'
}

make_root()
{
	local site
	site=$(mirror)
	[ -n "$site" ] || { echo "no Debian mirror in apt's sources: set DEBIAN_MIRROR" >&2; exit 1; }
	rm -rf --one-file-system "$root"
	mkdir -p "$root"
	debootstrap --variant=minbase --include=make,git,ca-certificates \
		--keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$suite" "$root" "$site"
	printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
	chmod 755 "$root/usr/sbin/policy-rc.d"
	touch "$root/.made"
}

# The machine's way to the network, and a clean clone; wolfSSL stays from the last run.
fill_root()
{
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	apt-config dump | grep -i '^Acquire::[a-z:]*proxy' >"$root/etc/apt/apt.conf.d/90proxy" || true
	rm -rf --one-file-system "$root/new"
	git clone -q . "$root/new"
	mkdir -p "$root/new/build"
	if [ -d "$root/sluice/build/deps" ]; then
		mv "$root/sluice/build/deps" "$root/new/build/"
	fi
	rm -rf --one-file-system "$root/sluice"
	mv "$root/new" "$root/sluice"
}

[ -e "$root/.made" ] || make_root
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
# /tmp and /dev/shm as tests expect them; /sys for cgroups and the number of cores.  The root is
# changed by pivot_root: podman unpacks layers in a root of its own, which a mere chroot refuses.
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
