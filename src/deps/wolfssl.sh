#!/bin/sh
# wolfssl.sh DIR
# Builds a static wolfSSL into DIR/include and DIR/lib from Debian's own source package: the newest
# of sid, else of trixie, else of the running release.  apt fetches it with a sources list, lists
# and cache of its own below DIR and checks it against Debian's archive keyring; the system's
# sources stay as they are.  Done once: DIR/stamp holds what it was built from.
#
# WOLFSSL_SRC=dir      another source tree instead (it is copied, not changed)
# WOLFSSL_SUITES=...   other suites to try, in this order
# DEBIAN_MIRROR=url    where Debian is fetched from; absent: where the system's own packages come from
# JOBS=n               compile jobs
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu

mkdir -p "$1"
dir=$(cd "$1" && pwd)
src=${WOLFSSL_SRC:-}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
cd "$dir"

case $(uname -m) in
x86_64) cpu="--enable-intelasm --enable-sp=yes,asm,4096,384,521" ;;
aarch64) cpu="--enable-armasm --enable-sp=yes,asm,4096,384,521" ;;
*) cpu="--enable-sp=yes,4096,384,521" ;;
esac

# Alternative chains: servers that send a cross-signed root besides the path that we trust are common.
flags="--enable-static --disable-shared --disable-examples --disable-crypttests
	--disable-dependency-tracking $cpu
	--enable-tls13 --disable-oldtls --enable-sni --enable-alpn --enable-session-ticket
	--enable-ecc --enable-curve25519 --enable-supportedcurves
	--enable-aesgcm --enable-chacha --enable-poly1305 --enable-hkdf
	--enable-sha384 --enable-sha512
	--enable-ocsp --enable-ocspstapling --enable-altcertchains --enable-atomicuser"
# The verify callback sees every leaf, so that names and IP addresses are checked by net/names.c.
cflags="-O3 -DHAVE_SECRET_CALLBACK -DWOLFSSL_ALWAYS_VERIFY_CB -DWOLFSSL_IP_ALT_NAME"
# Serial number 0, as the roots of Go Daddy, Starfield (Amazon) and HARICA have it.  Versions before
# 5.8 know only the second define, which lets some more oddities of names pass as well.
serial0="-DWOLFSSL_ASN_ALLOW_0_SERIAL"
serial0_old="-DWOLFSSL_NO_ASN_STRICT"

# 5.9 counts the nonce of tickets on over a whole chain of resumptions and fails the connection that
# would be the 257th.  It has to be unique within a connection only (RFC 8446 4.6.1), and we send one.
nonce_end="return SESSION_TICKET_NONCE_OVERFLOW;"
nonce_anew="ssl->session->ticketNonce.data[0] = 0;"

want="$(echo $flags) CFLAGS=$cflags $serial0 NONCE=$nonce_anew SRC=$src SUITES=${WOLFSSL_SUITES:-}"

say()
{
	echo "wolfssl: $*"
}

die()
{
	say "$*" >&2
	exit 1
}

codename()
{
	sed -n 's/^VERSION_CODENAME=//p' /etc/os-release
}

# The site that the running release itself comes from, so that a local mirror is used as well.
mirror()
{
	if [ -n "${DEBIAN_MIRROR:-}" ]; then
		echo "$DEBIAN_MIRROR"
		return
	fi
	apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' |
		awk -v release="$(codename)" '$2 == release { print $1; exit }'
}

# apt with nothing of the system's but its proxy settings and its methods.
private_apt()
{
	tool=$1
	shift
	"$tool" -q -o Dir::Etc::sourcelist="$dir/apt/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=- \
		-o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" \
		-o APT::Sandbox::User="$(id -un)" -o APT::Get::AllowUnauthenticated=false \
		-o Acquire::Languages=none -o Acquire::Retries=3 -o Acquire::http::Timeout=60 "$@"
}

# Fetches the package of suite $1 into apt/; leaves apt/version.
fetch_suite()
{
	rm -rf apt
	mkdir -p apt/lists/partial apt/cache/archives/partial apt/package
	echo "deb-src [signed-by=$keyring] $site $1 main" >apt/sources.list
	private_apt apt-get update >apt/log 2>&1 || return 1
	version=$(private_apt apt-cache showsrc --only-source wolfssl |
		sed -n 's/^Version: //p' | sort -V | tail -n 1)
	[ -n "$version" ] || return 1
	if (cd apt/package && private_apt apt-get source --download-only "wolfssl=$version") \
		>>apt/log 2>&1; then
		echo "$version ($1)" >apt/version
		return
	fi
	# A mirror in the middle of an update may have the tarball and not Debian's few changes to
	# its packaging.  The tarball is verified by the same signed list.
	(cd apt/package && private_apt apt-get source --download-only --tar-only \
		"wolfssl=$version") >>apt/log 2>&1 || return 1
	say "$1: no patches of $version to be had, taking its verified upstream tarball"
	echo "$version ($1, upstream tarball alone)" >apt/version
}

fetch()
{
	if [ -s apt/version ] && [ -z "${WOLFSSL_SUITES:-}" ]; then
		return          # only the flags have changed
	fi
	[ -r "$keyring" ] || die "no $keyring (package debian-archive-keyring): set WOLFSSL_SRC"
	site=$(mirror)
	[ -n "$site" ] || die "no Debian mirror found in apt's sources: set DEBIAN_MIRROR or WOLFSSL_SRC"
	for suite in ${WOLFSSL_SUITES:-sid trixie $(codename)}; do
		say "fetching the source package of $suite"
		if fetch_suite "$suite"; then
			rm -rf apt/lists apt/cache
			return
		fi
		grep '^[EW]:' apt/log >&2 || true
		say "$suite cannot be used (see above)"
	done
	die "no source package: set WOLFSSL_SRC to a wolfSSL source tree"
}

unpack()
{
	rm -rf tree
	if [ -n "$src" ]; then
		[ -f "$src/configure.ac" ] || die "WOLFSSL_SRC=$src is no wolfSSL source tree"
		cp -R "$src" tree
		echo "$src" >version
		return
	fi
	fetch
	if ls apt/package/*.dsc >/dev/null 2>&1; then
		dpkg-source --no-check -x apt/package/*.dsc tree >>log 2>&1
	else
		mkdir tree
		tar -xf "$(ls apt/package/*.orig.tar.* | grep -v '\.asc$')" --strip-components=1 -C tree
	fi
	cp apt/version version
}

build()
{
	(
		cd tree
		[ ! -f Makefile ] || make distclean
		[ -x configure ] || ./autogen.sh
		sed -i "s/$nonce_end/$nonce_anew/" src/tls13.c
		grep -q WOLFSSL_ASN_ALLOW_0_SERIAL wolfcrypt/src/asn.c || serial0=$serial0_old
		./configure --prefix=/ $flags CFLAGS="$cflags $serial0"
		make -j"${JOBS:-2}"
		make install DESTDIR="$dir/new"
		rm -rf "$dir/include" "$dir/lib"
		mv "$dir/new/include" "$dir/new/lib" "$dir"
	) >>log 2>&1 || {
		tail -n 30 log >&2
		die "the build failed: $dir/log"
	}
}

# The lock file stays: two makes in one tree wait for each other.
exec 9>lock
flock 9
if [ -f lib/libwolfssl.a ] && [ "$(cat stamp 2>/dev/null)" = "$want" ]; then
	touch stamp
	exit 0
fi
rm -rf stamp new
: >log
unpack
say "building $(cat version)"
# A make above us must not hand its flags or its sanitizers to this build.
unset MAKEFLAGS MAKELEVEL MFLAGS CFLAGS CPPFLAGS LDFLAGS CC SAN
build
rm -rf tree new
echo "$want" >stamp
say "built: $(cat version)"
