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
src/deps/apt.sh debootstrap git util-linux python3-pytest iproute2 systemd-container

# What cannot be seen in a chroot: the unit under a systemd of that release, with all that it shuts off.
check='
set -eux
dpkg -i /out/sluice.deb
systemctl is-active sluice
pid=$(systemctl show -p MainPID --value sluice)
grep -x "Seccomp:.2" /proc/$pid/status
grep -x "NoNewPrivs:.1" /proc/$pid/status
exec 3<>/dev/tcp/127.0.0.1/15001
printf "GET /healthz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n" >&3
grep -q 200 <&3
systemctl reload sluice
echo "[bad" >>/etc/sluice/sluice.ini
! systemctl reload sluice
systemctl is-active sluice
sed -i "/^.bad$/d" /etc/sluice/sluice.ini
systemctl restart sluice
dpkg --purge sluice
! systemctl is-active sluice
echo GOOD
'
boot()
{
	local root=$1-systemd out=$PWD/build/roots/out
	if [ ! -e "$root/.made" ]; then
		rm -rf --one-file-system "$root"
		cp -a "$1" "$root"
		rm "$root/.made"
		cp "$2" "$root/tmp/sluice.deb"
		DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get -y -q install --no-install-recommends \
			systemd systemd-sysv /tmp/sluice.deb >/dev/null
		chroot "$root" dpkg --purge sluice
		rm "$root/usr/sbin/policy-rc.d" "$root/tmp/sluice.deb"
		printf "[Service]\nType=oneshot\nExecStart=/bin/bash /out/run\n" >"$root/etc/systemd/system/check.service"
		touch "$root/.made"
	fi
	rm -rf "$out"
	mkdir -p "$out"
	cp "$2" "$out/sluice.deb"
	echo "$check" >"$out/check"
	echo "timeout 120 bash /out/check >/out/log 2>&1; systemctl --no-block poweroff" >"$out/run"
	timeout -k 5 200 systemd-nspawn --quiet --directory="$root" --volatile=overlay --bind="$out:/out" \
		--register=no --keep-unit --private-network --boot \
		--system-call-filter="@aio io_uring_setup io_uring_enter io_uring_register" \
		systemd.unit=multi-user.target systemd.wants=check.service </dev/null >"$out/boot" 2>&1 || true
	if ! grep -qx GOOD "$out/log"; then
		cat "$out/boot" "$out/log" >&2 || true
		return 1
	fi
	echo "the unit is good under $(chroot "$root" systemctl --version | head -n 1)"
}

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
	boot "$root" "$package"
done
echo "the package is good on ${1:-bookworm trixie}"
