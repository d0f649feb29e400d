"""What benchmarks are made of: files, servers, load, report for bench/run, line for the others.  It
uses the test rig for processes, for certificates and for Sluice's INI."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))
sys.dont_write_bytecode = True
