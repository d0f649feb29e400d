#!/bin/sh
# apt.sh [--quiet-services] PACKAGE...
# Installs the Debian packages that are missing; costs one dpkg-query and no network when none is.
# "a|b" takes the first of the two that the running release has.  A user who is not root gets the
# line to run instead.  Does nothing where there is no dpkg, or with NO_APT=1.
# --quiet-services keeps daemons that come with test tools (a registry, nginx) from being started.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu

quiet=
if [ "${1:-}" = --quiet-services ]; then
	quiet=1
	shift
fi
if [ -n "${NO_APT:-}" ] || ! command -v dpkg-query >/dev/null; then
	exit 0
fi

apt_opts="-y -q -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3 -o Acquire::http::Timeout=60"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8

is_installed()
{
	case " $have " in *" $1 "*) return 0 ;; esac
	return 1
}

has_candidate()
{
	apt-cache policy "$1" 2>/dev/null | grep -q 'Candidate: [0-9]'
}

# One query for everything, alternatives included.
have=$(dpkg-query -W -f='${Package}=${db:Status-Status} ' $(echo "$*" | tr '|' ' ') 2>/dev/null |
	tr ' ' '\n' | sed -n 's/=installed$//p' | tr '\n' ' ') || true

missing=
for want; do
	found=
	for p in $(echo "$want" | tr '|' ' '); do
		if is_installed "$p"; then found=1; fi
	done
	[ -n "$found" ] || missing="$missing $want"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "These packages are missing.  Run as root, then again make:" >&2
	echo "  apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

# The lists have no lock that apt would wait for: somebody else's update may be running.
update()
{
	for _ in 1 2 3 4 5; do
		if apt-get $apt_opts update; then return 0; fi
		sleep 5
	done
	echo "apt.sh: apt-get update fails: see above" >&2
	return 1
}

# Prints the packages to install; fails if one of them is in no list.
choose()
{
	for want in $missing; do
		pick=
		for p in $(echo "$want" | tr '|' ' '); do
			if [ -z "$pick" ] && has_candidate "$p"; then pick=$p; fi
		done
		if [ -z "$pick" ]; then
			echo "apt.sh: no package $want in the lists" >&2
			return 1
		fi
		echo "$pick"
	done
}

install()
{
	apt-get $apt_opts install --no-install-recommends $(choose)
}

policy=/usr/sbin/policy-rc.d
if [ -n "$quiet" ] && [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	trap 'exit 1' HUP INT TERM
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi

echo "installing:$missing"
choose >/dev/null 2>&1 || update
choose >/dev/null
install || { update && install; }
