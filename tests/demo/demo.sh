#!/bin/sh
# make demo: on this machine alone, pulls an image through Sluice twice and shows what it cost.
#
# Debian's docker-registry, with tokens and a CDN that its blobs are redirected to, stands for a
# public registry.  Everything is on loopback and in one folder; nothing stays behind.
# SPDX-License-Identifier: GPL-3.0-or-later
set -eu
cd "$(dirname "$0")/../.."
sluice=${SLUICE:-build/sluice}
python=${PYTHON:-/usr/bin/python3}
work=$(mktemp -d /tmp/sluice-demo.XXXXXX)

# Ends what was started.  A child that was just forked has this shell's traps until it becomes its
# command, and forgets what it is sent before: so it is asked again, and after 10 s not asked.
clean_up()
{
	status=$?
	trap '' INT TERM HUP
	trap - EXIT
	jobs -p >"$work/jobs"		# in $( ) it would show those of a subshell
	pids=$(cat "$work/jobs")
	for try in $(seq 30); do
		if [ "$try" -le 20 ]; then signal=TERM; else signal=KILL; fi
		kill -s $signal $pids 2>/dev/null || true
		sleep 0.5
	done &
	asking=$!
	for pid in $pids; do
		wait "$pid" || true
	done
	kill -s KILL $asking
	rm -rf "$work"
	exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

fail()
{
	echo "demo: $1" >&2
	tail -n 20 "$work/$2" >&2
	exit 1
}

# wait_for SECONDS PID LOG WHAT COMMAND..: until the command succeeds, while the process lives.
wait_for()
{
	tries=$(($1 * 10)) pid=$2 log=$3 what=$4
	shift 4
	while ! "$@" >/dev/null 2>&1; do
		tries=$((tries - 1))
		kill -0 "$pid" 2>/dev/null || fail "$what ended" "$log"
		[ $tries -gt 0 ] || fail "$what does not answer" "$log"
		sleep 0.1
	done
}

metric()
{
	curl -s --noproxy '*' -m 10 "http://127.0.0.1:$ADMIN/metrics" |
		awk -v name="sluice_$1" '$1 == name { printf "%d", $2 }'
}

# pull NAME: the image by skopeo into a folder; sets seconds, up, cached, equal.
pull()
{
	up=$(metric bytes_up_total) cached=$(metric bytes_cache_total) start=$(date +%s%N)
	skopeo --registries-conf "$work/registries.conf" copy --quiet --src-cert-dir "$work/certs" \
		docker://docker.io/library/demo:latest "dir:$work/$1" >"$work/$1.log" 2>&1 &
	wait $! || fail "skopeo failed" "$1.log"
	seconds=$(($(date +%s%N) - start))
	up=$(($(metric bytes_up_total) - up)) cached=$(($(metric bytes_cache_total) - cached))
	equal=NO
	if [ "sha256:$(sha256sum <"$work/$1/manifest.json" | cut -c 1-64)" = "$DIGEST" ]; then equal=yes; fi
	rm -rf "${work:?}/$1"
}

row()
{
	awk -v what="$1" -v s="$seconds" -v up="$up" -v cached="$cached" -v equal="$equal" 'BEGIN {
		printf "  %-8s %10.2f %18.1f %18.1f %15s\n", what, s / 1e9, up / 1e6, cached / 1e6, equal }'
}

echo "Starting a registry with tokens and a redirecting CDN, and making an image ..."
PYTHONPATH=tests/e2e PYTHONDONTWRITEBYTECODE=1 "$python" -m rig "$work" >"$work/rig.log" 2>&1 &
rig_pid=$!
wait_for 60 $rig_pid rig.log "the registry" test -e "$work/env"
. "$work/env"

cat >"$work/sluice.ini" <<END
[server]
https = 127.0.0.1:$PORT
admin = 127.0.0.1:$ADMIN
host = localhost
access_log = $work/access.log
[certificate demo]
chain = $CHAIN
key = $KEY
[cache]
path = $work/cache
size = 1G
free = 0
[mirror docker.io]
upstream = $UPSTREAM
ca = $CA
private = yes
END
cat >"$work/registries.conf" <<END
[[registry]]
prefix = "docker.io"
location = "unreachable.invalid"
[[registry.mirror]]
location = "localhost:$PORT/docker.io"
END
mkdir "$work/certs"
cp "$CA" "$work/certs/ca.crt"

echo "Starting Sluice at https://localhost:$PORT for $UPSTREAM ..."
"$sluice" serve -c "$work/sluice.ini" >"$work/sluice.log" 2>&1 &
sluice_pid=$!
wait_for 20 $sluice_pid sluice.log Sluice \
	curl -sf --noproxy '*' -m 5 "http://127.0.0.1:$ADMIN/healthz"

echo "Pulling docker.io/library/demo, $LAYERS layers, $((BYTES / 1000000)) MB, by skopeo:"
echo
echo "  pull        seconds  from upstream, MB   from cache, MB    digest equal"
pull cold
row cold
first=$equal
pull warm
row warm
cat <<'END'

How to go on
  make run                 a mirror for the public registries on https://localhost:8443,
                           with commands to paste for docker, containerd, podman and skopeo
  conf/sluice.ini          every setting, explained; copy it to /etc/sluice/sluice.ini
  make install             sluice into /usr/local/sbin
END
[ "$first$equal" = yesyes ] || fail "a digest differs from the upstream's" sluice.log
