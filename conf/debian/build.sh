#!/bin/sh
# build.sh BUILD VERSION: a package of what "make install" installs, in build/deb, for the release that
# this runs on, whose libraries it names.  DEB_VERSION= takes another version.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu
cd "$(dirname "$0")/../.."
build=$1
src=conf/debian
out=build/deb
root=$out/root
arch=$(dpkg --print-architecture)

# Without a tag, the time of the commit orders versions; "~" makes them older than any release.
version()
{
	case $1 in
	v[0-9]* | [0-9]*.*) echo "${1#v}" | tr - + ;;
	unknown) echo "0~unknown" ;;
	*) echo "0~$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d.%H%M%S).$1" | tr - + ;;
	esac
}
# dpkg-deb takes no time later than this, so that the same commit gives the same bytes.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
maintainer=${DEB_MAINTAINER:-Sluice <root@localhost>}
version=${DEB_VERSION:-$(version "$2")}

rm -rf --one-file-system "$out"
mkdir -p "$root/DEBIAN"
"${MAKE:-make}" --no-print-directory -s BUILD="$build" DESTDIR="$PWD/$root" PREFIX=/usr NO_APT=1 \
	install-files
rm "$root/usr/share/sluice/sluice.ini" # it is the conffile
strip --strip-unneeded "$root/usr/sbin/sluice" "$root/usr/sbin/sluice-tune"

doc=$root/usr/share/doc/sluice
install -D -m 644 $src/copyright "$doc/copyright"
install -D -m 644 CHANGELOG "$doc/changelog"
install -D -m 644 README.md "$doc/README.md"
ln -s /etc/sluice/sluice.ini "$doc/sluice.ini"
cat >"$doc/changelog.Debian" <<END
sluice ($version) unstable; urgency=medium

  * Built from the source tree; changes are in changelog.gz.

 -- $maintainer  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
END
gzip -9n "$doc/changelog" "$doc/changelog.Debian" "$root"/usr/share/man/man?/*
install -D -m 644 $src/lintian-overrides "$root/usr/share/lintian/overrides/sluice"

# dpkg-shlibdeps wants a source package around it.
mkdir -p "$out/shlibs/debian"
printf 'Source: sluice\n\nPackage: sluice\nArchitecture: any\n' >"$out/shlibs/debian/control"
depends=$(cd "$out/shlibs" && dpkg-shlibdeps -O ../root/usr/sbin/sluice ../root/usr/sbin/sluice-tune |
	sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "build.sh: dpkg-shlibdeps found no libraries" >&2; exit 1; }
rm -rf "$out/shlibs"

sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@MAINTAINER@/$maintainer/" -e "s/@DEPENDS@/$depends/" \
	-e "s/@SIZE@/$(du -sk --exclude=DEBIAN "$root" | cut -f1)/" $src/control >"$root/DEBIAN/control"
printf '/etc/logrotate.d/sluice\n/etc/sluice/sluice.ini\n' >"$root/DEBIAN/conffiles"
for script in postinst prerm postrm; do
	install -m 755 $src/$script "$root/DEBIAN/$script"
done
(cd "$root" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2) >"$root/DEBIAN/md5sums"

dpkg-deb --root-owner-group -Zxz --build "$root" "$out" >/dev/null
rm -rf --one-file-system "$root"
echo "$out/sluice_${version}_$arch.deb"
