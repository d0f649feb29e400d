"""Tables, JSON and SVG of what was measured.  A row is the median of the rounds and their spread."""
import html
import statistics


def figures(values):
    m = statistics.median(values)
    return m, min(values), max(values)


def ratios(result, name):
    """Sluice's figure to that server's, round by round: they were measured one after the other."""
    pairs = zip(result["values"].get("sluice", []), result["values"][name])
    return [a / b for a, b in pairs if b > 0] if name != "sluice" else []


def number(x):
    return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def middle(rates):
    """Of what a scenario tells besides its figure: a number, or words of its last round."""
    if not rates:
        return ""
    return rates[-1] if isinstance(rates[-1], str) else number(statistics.median(rates))


def table(results):
    """Markdown: a line for each server of each scenario, with the ratio of Sluice's figure to its."""
    lines = ["| scenario | measure | server | median (least, most) | a second | sluice to it | at most |",
             "|---|---|---|---|---|---|---|"]
    for r in results:
        title = r["title"]
        for name, values in r["values"].items():
            m, least, most = figures(values)
            rate = middle(r["rates"].get(name))
            ratio, limit = "", ""
            if found := ratios(r, name):
                ratio = "{:.2f} ({:.2f}, {:.2f})".format(*figures(found))
                limit = f"{r['limits'][name]:.2f}" if name in r["limits"] else ""
            lines.append(f"| {title} | {r['unit']} | {name} | {number(m)} ({number(least)}, "
                         f"{number(most)}) | {rate} | {ratio} | {limit} |")
            title = ""
        for name, why in r["missing"].items():
            lines.append(f"| {title} | {r['unit']} | {name} | {why} | | | |")
    return "\n".join(lines)


def summary(facts, results):
    """Markdown for people: a line for each scenario, the ratio of Sluice's figure to each peer's."""
    lines = [f"{facts['date']}, {facts['cpu']}, {facts['cores']} cores, {facts['memory']}, Linux "
             f"{facts['kernel']}, load {facts['load']:.1f}; commit {facts['commit']}.", "",
             "| scenario | measure | Sluice | times the cost of | wanted |", "|---|---|---|---|---|"]
    for r in [r for r in results if "sluice" in r["values"]]:
        m, least, most = figures(r["values"]["sluice"])
        others = [(n, statistics.median(v), ratios(r, n)) for n, v in r["values"].items()]
        times = ", ".join("{} ({}) **{:.2f}** ({:.2f} to {:.2f})".format(n, number(x), *figures(f))
                          for n, x, f in others if f)
        wanted = ", ".join(f"{n} {x:.2f}" for n, x in r["limits"].items())
        also = r["rates"].get("sluice")
        also = f"; {also[-1]}" if also and isinstance(also[-1], str) else ""
        lines.append(f"| {r['title']} | {r['unit']} | {number(m)} ({number(least)} to "
                     f"{number(most)}){also} | {times} | {wanted} |")
    by = {k: max((r["carried"].get(k, 0) for r in results), default=0) for k in ("user", "kernel")}
    lines += ["", f"Bytes of TLS: {by['user'] / 1e9:.0f} GB by records of its own, "
              f"{by['kernel'] / 1e9:.0f} GB by the kernel. {facts['engine']}"]
    lines += [f"Left out: {r['title']}: {r['missing']['sluice']}" for r in results
              if "sluice" in r["missing"]]
    return "\n".join(lines)


BEGIN, END = "<!-- bench/run --readme -->", "<!-- until here -->"


def put_into(file, text):
    """Between the two marks of a Markdown file."""
    head, begin, rest = file.read_text().partition(BEGIN + "\n")
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{file} has no {BEGIN} and {END}")
    file.write_text(head + begin + text + "\n" + end + tail)


def svg(result, width=640):
    """Bars of one scenario: less is better, so the shortest wins."""
    bars = [(n, *figures(v)) for n, v in result["values"].items()]
    top = max(b[3] for b in bars) or 1
    room, height = width - 240, 50 + 28 * len(bars)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           'font-family="sans-serif" font-size="13">',
           f'<text x="8" y="20" font-weight="bold">{html.escape(result["title"])}: '
           f'{html.escape(result["unit"])}, less is better</text>']
    for i, (name, m, least, most) in enumerate(bars):
        y = 34 + 28 * i
        color = "#0a7" if name == "sluice" else "#89a"
        out += [f'<text x="8" y="{y + 15}">{html.escape(name)}</text>',
                f'<rect x="140" y="{y}" width="{m / top * room:.1f}" height="20" fill="{color}"/>',
                f'<line x1="{140 + least / top * room:.1f}" x2="{140 + most / top * room:.1f}" '
                f'y1="{y + 10}" y2="{y + 10}" stroke="#000"/>',
                f'<text x="{146 + most / top * room:.1f}" y="{y + 15}">{number(m)}</text>']
    return "\n".join(out + ["</svg>"]) + "\n"
