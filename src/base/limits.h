/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every bound that is not configuration, with its reason. */
#pragma once

enum {
	/*
	 * HTTP head.  Podman's zstd:chunked asks up to 1,022 ranges in a Range header of 17.7 KB;
	 * twice that plus the rest of a request.  Upstream heads carry signed URLs of some KB.
	 */
	HTTP_HEAD_MAX = 48 * 1024,
	HTTP_FIELDS_MAX = 100,
	HTTP_RANGES_MAX = 2048, /* 32 KB of "a-b," of 16 bytes each */

	/* Manifests: containerd refuses more than 4*1048*1048; registries refuse 4 MiB. */
	MANIFEST_MAX = 4 * 1024 * 1024 + 512 * 1024,
	/* tags/list and referrers pages, token answers, upstream error bodies. */
	LIST_MAX = 8 * 1024 * 1024,
	TOKEN_ANSWER_MAX = 64 * 1024,
	/* A client's form for a token; refresh tokens have some KB. */
	LOGIN_FORM_MAX = 16 * 1024,
	ERROR_BODY_MAX = 16 * 1024,

	/* OCI distribution: name and tag; by custom hostname and name have 255 bytes at most. */
	REPO_NAME_MAX = 255,
	TAG_MAX = 128,

	/* TLS: RFC 8446 5.1, 5.2. */
	TLS_PLAIN_MAX = 16384,
	TLS_HEADER = 5,
	TLS_CIPHER_MAX = TLS_PLAIN_MAX + 256,
	TLS_RECORD_MAX = TLS_HEADER + TLS_CIPHER_MAX,
	/* A ClientHello may span records; 16 KiB is what HAProxy and wolfSSL take. */
	TLS_HELLO_MAX = 16384,

	/* I/O buffers. */
	IO_CHUNK = 128 * 1024,   /* reads from the cache, one turn of a transfer */
	FILL_CHUNK = 256 * 1024, /* writes to the cache: fewer, larger io-wq trips */

	REDIRECTS_MAX = 5,
};
