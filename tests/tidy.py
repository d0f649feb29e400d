"""What a compiler cannot check: who may include whom, lengths, banned calls. Prints file:line: text."""
# SPDX-License-Identifier: GPL-3.0-or-later
import os
import re
import subprocess
import sys

MAY = {  # directory: the directories its files may include (itself is always allowed)
    "base": "", "config": "base", "io": "base", "http": "base", "net": "base io",
    "cache": "base io", "proxy": "base config io net http cache", "sys": "base config io",
    "tune": "base", "cli": "base config io net http cache proxy",
    "server": "base config io net http cache proxy sys cli", "main.c": "all"}
OWNS = [  # header of a library, its name in src/README.md, who may include it: directories or files
    (r"liburing(\.h|/)", "liburing", "io"),
    (r"ares(_\w+)?\.h", "c-ares", "io"),
    (r"wolfssl/", "wolfSSL", "net cache/digest.c cache/digest.h"),
    (r"intel-ipsec-mb\.h", "intel-ipsec-mb", "net"),
    (r"nghttp2/", "nghttp2", "http"),
    (r"ini\.h", "inih", "config"),
    (r"cjson/|cJSON\.h", "cJSON", "proxy cli")]
BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|strtok|atoi|gets|alloca)\s*\(")
LINE, FUNC, FILE = 100, 70, 1000
README = "src/README.md"
bad = 0


def say(file, line, text):
    global bad
    bad += 1
    print(f"{file}:{line}: {text}")


def listed():
    """Tracked files and new ones that git does not ignore; without git, all."""
    try:
        text = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "src", "tests"],
                                       text=True, stderr=subprocess.DEVNULL)
        return sorted(f for f in text.split("\n") if os.path.isfile(f))
    except (OSError, subprocess.CalledProcessError):
        return sorted(os.path.join(d, f) for top in ("src", "tests")
                      for d, _, names in os.walk(top) for f in names)


def check_include(file, here, n, line):
    m = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
    if not m or here is None:
        return
    quote, header = m.groups()
    inside = file.removeprefix("src/")
    for pattern, _, owners in OWNS:
        if re.match(pattern, header) and here not in owners.split() and inside not in owners.split():
            say(file, n, f"only {owners.replace(' ', ', ')} may include {header}")
    if quote != '"':
        return
    top = header.split("/")[0] if "/" in header else ""
    if top not in MAY:
        say(file, n, f'"{header}": write it with its directory')
    elif here not in MAY:
        say(file, n, f"{here}/ is not in the layer table of tests/tidy.py")
    elif top != here and MAY[here] != "all" and top not in MAY[here].split():
        say(file, n, f"{here}/ may not include {top}/")


def check_lines(file, lines):
    here, start = None, None
    if file.startswith("src/"):
        here = file.split("/")[1]       # a directory, or main.c
    if len(lines) > FILE:
        say(file, FILE, f"file longer than {FILE} lines")
    for n, line in enumerate(lines, 1):
        if len(line.expandtabs(8)) > LINE:
            say(file, n, f"line longer than {LINE} columns")
        if line != line.rstrip():
            say(file, n, "trailing whitespace")
        if not line.isascii():
            say(file, n, "not ASCII")
        if BANNED.search(line):
            say(file, n, "banned function")
        check_include(file, here, n, line)
        if line.startswith("{"):
            start = None if "tidy: long:" in line else n
        elif line.startswith("}") and start:
            if n - start - 1 > FUNC:
                say(file, start, f"function longer than {FUNC} lines")
            start = None


def check_names(files):
    """A module's name is unique, so that a word in a log or a comment means one file."""
    seen = {}
    for file in (f for f in files if f.startswith("src/") and f.endswith((".c", ".h"))):
        name = os.path.splitext(os.path.basename(file))[0]
        first = seen.setdefault(name, os.path.dirname(file))
        if first != os.path.dirname(file):
            say(file, 1, f"there is a module {name} in {first}/ already")


def words(text):
    return set(text.replace(",", " ").replace("`", "").split()) - {"nothing", "-"}


def check_table():
    """The layer table in src/README.md says what MAY and OWNS say, and only that."""
    if not os.path.exists(README):
        return
    found = {}
    for n, line in enumerate(open(README, encoding="utf-8"), 1):
        cells = [c.strip().strip("`").rstrip("/") for c in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) >= 3 and cells[0] in MAY and cells[0] not in found:
            found[cells[0]] = n
            if words(cells[1]) != words(MAY[cells[0]]):
                say(README, n, f"{cells[0]} may include: '{MAY[cells[0]]}' in tests/tidy.py")
            for _, name, owners in OWNS:
                owned = cells[0] in {o.split("/")[0] for o in owners.split()}
                # wolfCrypt is the part of wolfSSL that cache/ uses.
                told = name.lower() in cells[2].lower() or \
                    (name == "wolfSSL" and "wolfcrypt" in cells[2].lower())
                if owned != told:
                    say(README, n, f"{cells[0]} {'owns' if owned else 'does not own'} {name}")
    for missing in MAY.keys() - found.keys():
        say(README, 1, f"no row for {missing} in the layer table")


def main():
    files = sys.argv[1:] or listed()
    for file in (f for f in files if f.endswith((".c", ".h"))):
        with open(file, encoding="utf-8", errors="replace") as text:
            check_lines(file, text.read().split("\n"))
    if not sys.argv[1:]:
        check_names(files)
        check_table()
    sys.exit(bad > 0)


main()
