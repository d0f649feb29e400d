"""Prometheus' text format, taken strictly: what a scraper would refuse or misread raises."""
import re

NAME = r"[a-zA-Z_][a-zA-Z0-9_]*"
LABEL = re.compile(rf'({NAME})="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
LINE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)$")
PARTS = {"histogram": ("_bucket", "_sum", "_count")}


def labels_of(text):
    found, at = {}, 0
    while text and at < len(text):
        m = LABEL.match(text, at)
        assert m, f"labels {text!r} at {at}"
        assert m[1] not in found, f"label {m[1]} twice: {text}"
        found[m[1]], at = m[2], m.end()
    return found


def check_histogram(name, series):
    """Buckets ascend and count up to +Inf, which is the count."""
    rows = {}
    for (part, labels), value in series.items():
        rest = dict(labels)
        le = rest.pop("le", None)
        rows.setdefault(tuple(rest.items()), {})[(part, le)] = value
    for row in rows.values():
        buckets = [(float(le.replace("+Inf", "inf")), v) for (part, le), v in row.items()
                   if part == name + "_bucket"]
        assert buckets == sorted(buckets) and buckets[-1][0] == float("inf"), name
        counts = [v for _, v in buckets]
        assert counts == sorted(counts), f"{name}: not cumulative"
        assert counts[-1] == row[(name + "_count", None)], f"{name}: +Inf is not the count"
        assert (name + "_sum", None) in row, f"{name}: no sum"


def parse(text):
    """{family: (type, help, {(name, labels): value})}; labels: pairs in their order."""
    families, family = {}, None
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if m := re.match(rf"# HELP ({NAME}) (\S.*)$", line):
            assert m[1] not in families, f"{m[1]} twice"
            family = m[1]
            families[family] = [None, m[2], {}]
        elif m := re.match(rf"# TYPE ({NAME}) (counter|gauge|histogram)$", line):
            assert m[1] == family and families[family][0] is None, line
            families[family][0] = m[2]
        else:
            m = LINE.match(line)
            assert m, line
            kind, _, series = families[family]
            assert m[1] in [family + p for p in PARTS.get(kind, ("",))], f"{line} in {family}"
            key = (m[1], tuple(labels_of(m[2]).items()))
            assert key not in series, f"twice: {line}"
            series[key] = float(m[3])
    for name, (kind, _, series) in families.items():
        assert kind, f"{name} has no type"
        assert kind != "counter" or name.endswith("_total"), name
        if kind == "histogram":
            check_histogram(name, series)
    return families
