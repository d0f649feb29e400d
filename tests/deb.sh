#!/bin/bash
# The package on clean minimal roots of Debian 12 and 13: built for each (in a chroot where this machine
# is of the other release), installed by apt, started, upgraded, purged: tests/e2e/test_30_package.py.
# As root; roots are kept in build/roots.  "deb.sh bookworm" does one of them.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu
cd "$(dirname "$0")/.."
. tests/debootstrap.sh

if [ "$(id -u)" != 0 ]; then
	echo "deb.sh: needs root, for chroot and mounts" >&2
	exit 1
fi
src/deps/apt.sh debootstrap git util-linux python3-pytest iproute2
here=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)

for suite in ${1:-bookworm trixie}; do
	root=$PWD/build/roots/$suite
	[ -e "$root/.made" ] || make_root "$suite" "$root"
	use_network "$root"
	chroot "$root" apt-get -q update >/dev/null
	if [ "$suite" = "$here" ]; then
		make deb WERROR=1
		package=$(echo "$PWD"/build/deb/sluice_*.deb)
	else
		package=$(SUITE=$suite tests/debian13.sh deb | tail -n 1)
	fi
	echo "== $suite: $package"
	PACKAGE=$package PACKAGE_ROOT=$root timeout 600 \
		/usr/bin/python3 -m pytest -q -x -p no:cacheprovider tests/e2e/test_30_package.py
done
echo "the package is good on ${1:-bookworm trixie}"
