/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "net/ktls.h"

#include <endian.h>
#include <errno.h>
#include <linux/tcp.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

enum {
	MINOR_13 = 4,
	SALT = 4,
	/*
	 * The kernel ends a record when it is full, when a call ends, and at worst with each page.
	 */
	PAGE = 4096,
	/* Records kept back for alerts and KeyUpdates. */
	SPARE = 64,
};

union crypto {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 gcm_128;
	struct tls12_crypto_info_aes_gcm_256 gcm_256;
	struct tls12_crypto_info_chacha20_poly1305 chacha;
};

static void put_be64(unsigned char *to, uint64_t v)
{
	v = htobe64(v);
	memcpy(to, &v, sizeof(v));
}

static uint64_t get_be64(const unsigned char *from)
{
	uint64_t v;

	memcpy(&v, from, sizeof(v));
	return be64toh(v);
}

/* TLS 1.2 has its explicit nonce where 1.3 has the rest of the IV. */
static void put_gcm_iv(const struct record_tx *t, unsigned char *salt, unsigned char *iv)
{
	memcpy(salt, t->k.iv, SALT);
	if (t->k.minor == MINOR_13)
		memcpy(iv, t->k.iv + SALT, AEAD_NONCE - SALT);
	else
		put_be64(iv, t->explicit_nonce);
}

/* The bytes of it that count for the cipher. */
static socklen_t crypto_fill(union crypto *c, const struct record_tx *t)
{
	memset(c, 0, sizeof(*c));
	c->info.version = t->k.minor == MINOR_13 ? TLS_1_3_VERSION : TLS_1_2_VERSION;
	switch (t->k.cipher) {
	case AEAD_AES_128_GCM:
		c->info.cipher_type = TLS_CIPHER_AES_GCM_128;
		memcpy(c->gcm_128.key, t->key.raw, sizeof(c->gcm_128.key));
		put_gcm_iv(t, c->gcm_128.salt, c->gcm_128.iv);
		put_be64(c->gcm_128.rec_seq, t->k.seq);
		return sizeof(c->gcm_128);
	case AEAD_AES_256_GCM:
		c->info.cipher_type = TLS_CIPHER_AES_GCM_256;
		memcpy(c->gcm_256.key, t->key.raw, sizeof(c->gcm_256.key));
		put_gcm_iv(t, c->gcm_256.salt, c->gcm_256.iv);
		put_be64(c->gcm_256.rec_seq, t->k.seq);
		return sizeof(c->gcm_256);
	case AEAD_CHACHA20_POLY1305:
		c->info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		memcpy(c->chacha.key, t->key.raw, sizeof(c->chacha.key));
		memcpy(c->chacha.iv, t->k.iv, sizeof(c->chacha.iv));
		put_be64(c->chacha.rec_seq, t->k.seq);
		return sizeof(c->chacha);
	}
	unreachable("a cipher");
}

static int key_set(int fd, const struct record_tx *t)
{
	union crypto c;
	socklen_t len = crypto_fill(&c, t);
	int err = setsockopt(fd, SOL_TLS, TLS_TX, &c, len) == 0 ? 0 : -errno;

	explicit_bzero(&c, sizeof(c));
	return err;
}

/* The number of the next record, as the kernel counts; 0 or -errno. */
static int key_seq(int fd, const struct record_tx *t, uint64_t *seq)
{
	union crypto c;
	socklen_t len = crypto_fill(&c, t);
	int err = getsockopt(fd, SOL_TLS, TLS_TX, &c, &len) == 0 ? 0 : -errno;

	switch (t->k.cipher) {
	case AEAD_AES_128_GCM: *seq = get_be64(c.gcm_128.rec_seq); break;
	case AEAD_AES_256_GCM: *seq = get_be64(c.gcm_256.rec_seq); break;
	case AEAD_CHACHA20_POLY1305: *seq = get_be64(c.chacha.rec_seq); break;
	}
	explicit_bzero(&c, sizeof(c));
	return err;
}

/* Bytes that TCP was given, or more: a packet that the host itself lost counts twice. */
static bool tcp_taken(int fd, uint64_t *bytes)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len) != 0 ||
	    len < offsetof(struct tcp_info, tcpi_dsack_dups))
		return false;
	*bytes = ti.tcpi_bytes_sent - ti.tcpi_bytes_retrans + ti.tcpi_notsent_bytes;
	return true;
}

/* Records that may follow, and are not kept back. */
static uint64_t records_left(const struct record_tx *t, uint64_t seq)
{
	uint64_t max = record_tx_max(t);

	return seq + SPARE < max ? max - SPARE - seq : 0;
}

int ktls_begin(struct ktls_tx *k, int fd, const struct record_tx *t)
{
	int err;

	*k = (struct ktls_tx){ .seq = t->k.seq, .left = records_left(t, t->k.seq) };
	if (!tcp_taken(fd, &k->tcp_from))
		return -EOPNOTSUPP;
	/* EEXIST: there since a try that ended with the cipher. */
	if (setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")) != 0 && errno != EEXIST)
		return -errno;
	err = key_set(fd, t);
	return err;
}

int ktls_control(struct ktls_tx *k, int fd, enum record_type type, struct slice s)
{
	union {
		struct cmsghdr head;
		char mem[CMSG_SPACE(1)];
	} control = { .head = { .cmsg_level = SOL_TLS,
				.cmsg_type = TLS_SET_RECORD_TYPE,
				.cmsg_len = CMSG_LEN(1) } };
	char bytes[8];
	struct iovec v = { bytes, s.len };
	struct msghdr m = { .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = &control,
			    .msg_controllen = sizeof(control.mem) };
	ssize_t n;

	assert(s.len <= sizeof(bytes));
	memcpy(bytes, s.ptr, s.len);
	*CMSG_DATA(&control.head) = (unsigned char)type;
	n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return -errno;
	/* So small a record is taken as a whole. */
	if ((size_t)n != s.len)
		return -EIO;
	k->bytes += s.len;
	return 0;
}

int ktls_rekey(struct ktls_tx *k, int fd, struct record_tx *t, struct aead_engine *e)
{
	uint64_t seq;
	int err = key_seq(fd, t, &seq);

	if (err < 0)
		return err;
	k->records += seq - k->seq;
	record_tx_update(t, e);
	k->seq = t->k.seq;
	k->left = records_left(t, t->k.seq);
	return key_set(fd, t);
}

bool ktls_may_send(struct ktls_tx *k, int fd, const struct record_tx *t, size_t n)
{
	uint64_t most = n / PAGE + 2;
	uint64_t seq;

	if (k->left < most) {
		if (key_seq(fd, t, &seq) < 0)
			return false;
		k->left = records_left(t, seq);
	}
	if (k->left < most)
		return false;
	k->left -= most;
	return true;
}

bool ktls_flushed(const struct ktls_tx *k, int fd, const struct record_tx *t)
{
	uint64_t seq, taken, records;

	/* Who cannot say is not waited for. */
	if (key_seq(fd, t, &seq) < 0 || !tcp_taken(fd, &taken))
		return true;
	records = k->records + (seq - k->seq);
	return taken - k->tcp_from >= k->bytes + records * record_sealed_bytes(t, 0);
}
