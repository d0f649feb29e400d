/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/log.h"
#include "cli/cli.h"
#include "cli/doctor.h"
#include "net/tls.h"

enum { DOCTOR_NOT_LOOKED = 2 };

/* Reads, asks and tells; changes nothing, and runs beside a server. */
int cmd_doctor(const struct cli_args *args)
{
	struct config *c = cli_load(args->file);
	struct findings f = { 0 };
	int status;

	if (!c)
		return DOCTOR_NOT_LOOKED;
	log_set_level(args->verbose ? LOG_DEBUG : LOG_ERR);
	if (tls_global_init() < 0) {
		(void)cli_fail("wolfSSL does not start");
		config_unref(c);
		return DOCTOR_NOT_LOOKED;
	}
	doctor_kernel(&f, c);
	doctor_ports(&f, c);
	doctor_cache(&f, c);
	doctor_clock(&f);
	doctor_certs(&f, c);
	doctor_upstreams(&f, c);
	tls_global_fini();
	config_unref(c);
	status = findings_status(&f);
	findings_print(&f, args->json, status);
	findings_free(&f);
	return status;
}
