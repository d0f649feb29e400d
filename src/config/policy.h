/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long a tag's answer is good: the rules of the key `tag_policy`.  Pure.
 *
 *   RULE    = PATTERN [PATTERN ...] POLICY
 *   PATTERN = TAG, or REPOSITORY:TAG, for the whole of it: * any bytes, [a-z] [!a-z] one of a
 *             set, c? and [a-z]? one or none
 *   POLICY  = immutable | always | window TIME [revalidate TIME]
 *
 * Invariants
 *  1. The first pattern that matches wins; `*` alone counts as the last one, wherever it stands.
 *  2. Matching takes at most (bytes of the pattern) x (bytes of the name) steps and no heap.
 *  3. What policy_print() writes is parsed to the same policy.
 */
#pragma once

#include "config/config.h"

/* Cuts a rule into its patterns and its policy; false: <why> (VALUE_WHY_MAX bytes) says what. */
bool policy_parse(struct slice rule, struct slice *patterns, struct conf_policy *out,
		  char *why) must_check;
/* Gives <p> its pattern; strings come from <a>. */
bool policy_pattern(struct slice text, struct conf_policy *p, struct arena *a,
		    char *why) must_check;
/* The rule for `*` alone, or NULL. */
const struct conf_policy *policy_rest(const struct conf_policies *list);
bool policy_same_pattern(const struct conf_policy *a, const struct conf_policy *b);
bool policy_matches(const struct conf_policy *p, struct slice repo, struct slice tag);
bool policy_print(const struct conf_policy *p, struct buf *out);

/*
 * What holds for this tag: its rule; else, for a tag that stands for a digest's referrers (see
 * below), `window referrers_fresh`; else the rule for `*`; else `window tag_fresh`.
 */
struct conf_policy policy_of(const struct conf_mirror *m, struct slice repo, struct slice tag);
/*
 * sha256-<64 hex> with anything behind it: where clients look for signatures and the like in a
 * registry that has no referrers.  It moves with every new one, so no `*` may make it immutable.
 */
bool policy_is_fallback(struct slice tag);
