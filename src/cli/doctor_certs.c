/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/doctor.h"
#include "net/certlook.h"
#include "net/tls.h"

enum { DAY_S = 24 * 3600, DAYS_SHORT = 14, NAMES_TEXT = 1024 };

static void about(char out[300], const struct conf_cert *cert)
{
	snprintf(out, 300, "[certificate %s]", cert->name);
}

static void tell_days(struct findings *f, const char *who, const struct cert_look *l)
{
	const int64_t left_s = l->names.not_after - time(NULL);

	if (left_s < 0)
		found(f, FOUND_WRONG, who, "days", "It ended %lld days ago: renew it.",
		      (long long)(-left_s / DAY_S));
	else if (l->not_before > time(NULL))
		found(f, FOUND_WRONG, who, "days", "It is not good yet, by this host's clock.");
	else if (left_s < (int64_t)DAYS_SHORT * DAY_S)
		found(f, FOUND_NOTE, who, "days", "It ends in %lld days: renew it soon.",
		      (long long)(left_s / DAY_S));
	else
		found(f, FOUND_WELL, who, "days", "It is good for %lld more days.",
		      (long long)(left_s / DAY_S));
}

static void tell_chain(struct findings *f, const char *who, const struct cert_look *l)
{
	if (l->gap)
		found(f, FOUND_WRONG, who, "chain",
		      "Its file is out of order: certificate %u of %u is not issued by the next. "
		      "Put the server's own first, then its issuer, and so on.",
		      l->gap, l->count);
	else if (l->rooted)
		found(f, FOUND_WELL, who, "chain",
		      "Its chain of %u leads to a root that this host trusts.", l->count);
	else if (l->self_issued)
		found(f, FOUND_NOTE, who, "chain",
		      "It is issued by itself: clients need it as their CA (sluice clients).");
	else
		found(f, FOUND_NOTE, who, "chain",
		      "Its chain of %u leads to no root that this host trusts: clients need your "
		      "CA (sluice clients), or an issuer is missing at the end of the file.",
		      l->count);
}

static void look_cert(struct findings *f, const struct conf_cert *cert, struct cert_look *l)
{
	const struct tls_cert_opts o = { cert->name, cert->chain, cert->key };
	char who[300], why[512], names[NAMES_TEXT] = "";
	struct tls_server *s;
	struct buf text;

	about(who, cert);
	s = tls_server_new(&o, 1, false, why, sizeof(why));
	if (!s)
		found(f, FOUND_WRONG, who, "certificate", "%s.", why);
	tls_server_unref(s);
	if (cert_look(cert->chain, l) < 0)
		return;
	buf_init(&text, names, sizeof(names) - 1);
	(void)names_print(&l->names, &text);
	if (s)
		found(f, FOUND_WELL, who, "certificate",
		      "It and its key belong together; its names: %s.", names);
	tell_days(f, who, l);
	tell_chain(f, who, l);
}

static void look_names(struct findings *f, const struct config *c, const struct conf_names *names,
		       const struct cert_look *looks)
{
	for (unsigned i = 0; i < names->count; i++) {
		bool covered = false;

		for (unsigned k = 0; k < c->certs_count && !covered; k++)
			covered = looks[k].count > 0 &&
				  names_cover(&looks[k].names, slice_of(names->v[i]));
		if (!covered)
			found(f, FOUND_WRONG, "Names", "covered",
			      "No certificate is for %s: clients that come by it will refuse.",
			      names->v[i]);
		else
			found(f, FOUND_WELL, "Names", "covered", "There is a certificate for %s.",
			      names->v[i]);
	}
}

void doctor_certs(struct findings *f, const struct config *c)
{
	struct cert_look *looks;

	if (c->server.https.count == 0)
		return;
	looks = calloc(c->certs_count, sizeof(*looks));
	if (!looks) {
		found(f, FOUND_UNKNOWN, "Names", "covered", "No memory for certificates.");
		return;
	}
	for (unsigned i = 0; i < c->certs_count; i++)
		look_cert(f, &c->certs[i], &looks[i]);
	look_names(f, c, &c->server.hosts, looks);
	for (unsigned i = 0; i < c->mirrors_count; i++)
		look_names(f, c, &c->mirrors[i].hosts, looks);
	for (unsigned i = 0; i < c->certs_count; i++)
		if (looks[i].count > 0)
			cert_look_fini(&looks[i]);
	free(looks);
}
