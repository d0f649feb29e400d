#!/bin/sh
# make run: a mirror for the public registries on https://localhost:8443, until Ctrl-C.
#
# The certificate is self-made; its CA stays in build/run/, and so does the cache.
# PORT=, ADMIN_PORT= take other ports; a build/run/sluice.ini that is there already is kept.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu
cd "$(dirname "$0")/../.."
sluice=${SLUICE:-build/sluice}
port=${PORT:-8443}
admin=${ADMIN_PORT:-15001}
dir=${RUN_DIR:-$PWD/build/run}
mkdir -p "$dir"
umask 077

# quiet COMMAND..: its output is shown only if it fails.
quiet()
{
	"$@" >"$dir/out" 2>&1 || {
		cat "$dir/out" >&2
		exit 1
	}
	rm -f "$dir/out"
}

# A CA and a certificate signed by it; made again when the certificate has less than a month left.
if ! openssl x509 -in "$dir/server.pem" -noout -checkend 2592000 >/dev/null 2>&1; then
	echo "Making a certificate for localhost in $dir ..."
	[ -e "$dir/ca.pem" ] || quiet openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
		-nodes -days 3650 -subj "/CN=Sluice on $(uname -n)" -keyout "$dir/ca.key" -out "$dir/ca.pem" \
		-addext keyUsage=critical,keyCertSign,cRLSign
	quiet openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
		-subj /CN=localhost -keyout "$dir/server.key" -out "$dir/server.csr"
	cat >"$dir/server.ext" <<END
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1
END
	quiet openssl x509 -req -in "$dir/server.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
		-CAcreateserial -days 365 -extfile "$dir/server.ext" -out "$dir/server.pem"
	rm -f "$dir/server.csr" "$dir/server.ext"
fi

if [ ! -e "$dir/sluice.ini" ]; then
	v6=
	if [ -s /proc/net/if_inet6 ]; then v6=" [::1]:$port"; fi
	cat >"$dir/sluice.ini" <<END
; made by make run; change it as you like, or remove it to have it made again
[server]
https = 127.0.0.1:$port$v6
admin = 127.0.0.1:$admin
host = localhost
access_log = $dir/access.log

[certificate localhost]
chain = $dir/server.pem
key = $dir/server.key

[cache]
path = $dir/cache
size = 10G

; dockerd knows mirrors of docker.io alone, and by their host alone: it comes to 127.0.0.1
[mirror docker.io]
host = 127.0.0.1
END
	for name in gcr.io k8s.gcr.io registry.k8s.io quay.io ghcr.io mcr.microsoft.com nvcr.io \
		public.ecr.aws registry.gitlab.com lscr.io docker.elastic.co; do
		printf '[mirror %s]\n' $name >>"$dir/sluice.ini"
	done
fi
"$sluice" check -c "$dir/sluice.ini"
port=$(sed -n 's/^https *= *127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/sluice.ini")
admin=$(sed -n 's/^admin *= *127\.0\.0\.1:\([0-9]*\).*/\1/p' "$dir/sluice.ini")

cat <<END

Sluice mirrors the registries of $dir/sluice.ini
at https://localhost:$port; metrics: http://127.0.0.1:$admin/metrics; end it with Ctrl-C.
In another terminal, as root:

# docker: images of docker.io; restart it after this
mkdir -p /etc/docker/certs.d/127.0.0.1:$port
cp $dir/ca.pem /etc/docker/certs.d/127.0.0.1:$port/ca.crt
echo '{"registry-mirrors": ["https://127.0.0.1:$port"]}' >/etc/docker/daemon.json
docker pull busybox

# containerd: any registry, here quay.io
mkdir -p /etc/containerd/certs.d/quay.io
cat >/etc/containerd/certs.d/quay.io/hosts.toml <<X
[host."https://localhost:$port"]
  capabilities = ["pull", "resolve"]
  ca = "$dir/ca.pem"
X
ctr images pull --hosts-dir /etc/containerd/certs.d quay.io/prometheus/busybox:latest

# podman and skopeo: any registry, here docker.io
mkdir -p /etc/containers/certs.d/localhost:$port
cp $dir/ca.pem /etc/containers/certs.d/localhost:$port/ca.crt
cat >/etc/containers/registries.conf.d/50-sluice.conf <<X
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "localhost:$port/docker.io"
X
podman pull docker.io/library/busybox
skopeo copy docker://docker.io/library/busybox dir:/tmp/busybox

# is it there?
curl --cacert $dir/ca.pem https://localhost:$port/v2/

END
exec "$sluice" serve -c "$dir/sluice.ini"
