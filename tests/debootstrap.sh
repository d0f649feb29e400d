# Sourced: roots of other releases of Debian, made by debootstrap.
# SPDX-License-Identifier: GPL-3.0-or-later

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

# make_root SUITE FOLDER [PACKAGES]: a minimal one; FOLDER/.made says that it is whole.
make_root()
{
	local site
	site=$(mirror)
	[ -n "$site" ] || { echo "no Debian mirror in apt's sources: set DEBIAN_MIRROR" >&2; exit 1; }
	rm -rf --one-file-system "$2"
	mkdir -p "$2"
	debootstrap --variant=minbase ${3:+--include="$3"} \
		--keyring=/usr/share/keyrings/debian-archive-keyring.gpg "$1" "$2" "$site" >&2
	printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
	chmod 755 "$2/usr/sbin/policy-rc.d"
	touch "$2/.made"
}

# use_network FOLDER: this machine's way to it.
use_network()
{
	cp -L /etc/resolv.conf /etc/hosts "$1/etc/"
	apt-config dump | grep -i '^Acquire::[a-z:]*proxy' >"$1/etc/apt/apt.conf.d/90proxy" || true
}
