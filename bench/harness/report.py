"""Tables, JSON and SVG of what was measured.  A row is the median of the rounds and their spread."""
import html
import statistics


def figures(values):
    m = statistics.median(values)
    return m, min(values), max(values)


def number(x):
    return f"{x:.0f}" if abs(x) >= 1000 else f"{x:.3g}"


def table(results):
    """Markdown: a line for each server of each scenario; the ratio is Sluice's figure to it."""
    lines = ["| scenario | measure | server | median (least, most) | a second | sluice to it | at most |",
             "|---|---|---|---|---|---|---|"]
    for r in results:
        ours = statistics.median(r["values"]["sluice"]) if "sluice" in r["values"] else None
        title = r["title"]
        for name, values in r["values"].items():
            m, least, most = figures(values)
            rate = number(statistics.median(r["rates"][name])) if r["rates"].get(name) else ""
            ratio, limit = "", ""
            if name != "sluice" and ours is not None and m > 0:
                ratio = f"{ours / m:.2f}"
                limit = f"{r['limits'][name]:.2f}" if name in r["limits"] else ""
            lines.append(f"| {title} | {r['unit']} | {name} | {number(m)} ({number(least)}, "
                         f"{number(most)}) | {rate} | {ratio} | {limit} |")
            title = ""
        for name, why in r["missing"].items():
            lines.append(f"| {title} | {r['unit']} | {name} | {why} | | | |")
    return "\n".join(lines)


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
