/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Throw-away certificates for the tests of net/, made by the openssl command in a temporary
 * folder.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char certs_dir[64];

static inline const char *certs_path(const char *name)
{
	static char paths[8][128];
	static unsigned next;
	char *p = paths[next++ % 8];

	snprintf(p, sizeof(paths[0]), "%.40s/%.80s", certs_dir, name);
	return p;
}

__attribute__((format(printf, 1, 2))) static inline void certs_run(const char *fmt, ...)
{
	char cmd[1024], all[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	snprintf(all, sizeof(all), "cd %s && { %s ; } >>log 2>&1", certs_dir, cmd);
	if (system(all) != 0) {
		printf("# failed: %s\n", cmd);
		abort();
	}
}

static inline void certs_remove(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf %s", certs_dir);
	if (system(cmd) != 0)
		printf("# %s is left\n", certs_dir);
}

/* NAME.pem and NAME.key for the SAN (or, when it is "", only the common name), signed by CA. */
static inline void certs_leaf(const char *ca, const char *name, const char *key, const char *cn,
			      const char *san, const char *when)
{
	certs_run("openssl req -new -newkey %s -nodes -keyout %s.key -out %s.csr -subj /CN=%s", key,
		  name, name, cn);
	certs_run("echo 'basicConstraints=CA:FALSE' >%s.ext", name);
	if (san[0])
		certs_run("echo 'subjectAltName=%s' >>%s.ext", san, name);
	certs_run(
		"mkdir -p d && : >d/index && echo 01 >d/serial && "
		"openssl ca -batch -notext -config ca.cnf -cert %s.pem -keyfile %s.key -in %s.csr "
		"-out %s.pem -extfile %s.ext %s -rand_serial",
		ca, ca, name, name, name, when);
}

static inline void certs_ca(const char *name)
{
	certs_run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
		  "-keyout %s.key -out %s.pem -subj /CN=test-%s "
		  "-addext basicConstraints=critical,CA:TRUE "
		  "-addext keyUsage=critical,keyCertSign",
		  name, name, name);
}

#define CERTS_EC "ec -pkeyopt ec_paramgen_curve:P-256"

/* True: they are there already. */
static inline bool certs_folder(void)
{
	const char *kept = getenv("NET_CERTS"); /* where they are kept for the next run */
	const char *tmp = getenv("TMPDIR");

	if (kept) {
		snprintf(certs_dir, sizeof(certs_dir), "%.60s", kept);
		return access(certs_path("cn.pem"), R_OK) == 0;
	}
	snprintf(certs_dir, sizeof(certs_dir), "%.40s/sluice-net-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(certs_dir))
		abort();
	atexit(certs_remove);
	return false;
}

/*
 * ca.pem; other-ca.pem; main (EC, 127.0.0.1, localhost, main.test, *.wild.test); rsa (rsa.test,
 * 127.0.0.1); second (second.test); expired and future (127.0.0.1); cn (no SAN).
 */
static inline void certs_make(void)
{
	static const char days[] = "-days 10";
	bool there;

	if (certs_dir[0])
		return;
	there = certs_folder();
	setenv("SSL_CERT_FILE", certs_path("ca.pem"), 1);
	if (there)
		return;
	certs_run(
		"printf '%%s\\n' '[ca]' 'default_ca=x' '[x]' 'database=d/index' 'serial=d/serial' "
		"'new_certs_dir=d' 'default_md=sha256' 'policy=p' 'unique_subject=no' '[p]' "
		"'commonName=supplied' >ca.cnf");
	certs_ca("ca");
	certs_ca("other-ca");
	certs_leaf("ca", "main", CERTS_EC, "unused.test",
		   "DNS:localhost,IP:127.0.0.1,IP:::1,DNS:Main.test,DNS:*.wild.test", days);
	certs_leaf("ca", "rsa", "rsa:2048", "unused.test", "DNS:rsa.test,IP:127.0.0.1", days);
	certs_leaf("ca", "second", CERTS_EC, "unused.test", "DNS:second.test", days);
	certs_leaf("ca", "expired", CERTS_EC, "x", "IP:127.0.0.1,DNS:expired.test",
		   "-startdate 20200101000000Z -enddate 20200201000000Z");
	certs_leaf("ca", "future", CERTS_EC, "x", "IP:127.0.0.1",
		   "-startdate 20490101000000Z -enddate 20490201000000Z");
	certs_leaf("ca", "cn", CERTS_EC, "cn.test", "", days);
}
