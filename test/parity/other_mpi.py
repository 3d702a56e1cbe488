"""Runs the tests of distributed training under MPI libraries that Debian does not ship, from PyPI's wheels, each in a virtual
environment of its own: Open MPI 5, Intel MPI, MPICH 5, and the last two through the standard ABI of MPI 5 (libmpi_abi).

    npm run build && python3 test/parity/other_mpi.py [folder for the environments]
"""

import json
import os
import subprocess
import sys
import tempfile
import venv

root = [] if os.getuid() else ["--allow-run-as-root"]
OPEN_MPI = [*root, "--oversubscribe", "--bind-to", "none"]
LAUNCHERS = [
    ("Open MPI 5", "openmpi", OPEN_MPI, None),
    ("Intel MPI", "impi-rt", [], None),
    ("Intel MPI, standard ABI", "impi-rt", [], "libmpi_abi.so.1"),
    ("MPICH 5", "mpich", [], None),
    ("MPICH 5, standard ABI", "mpich", [], "libmpi_abi.so.1"),
]

folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="steploom-mpi-")
given = []
for name, package, flags, library in LAUNCHERS:
    home = os.path.join(folder, package)
    if not os.path.exists(os.path.join(home, "bin", "mpiexec")):
        venv.create(home, with_pip=True)
        subprocess.run([os.path.join(home, "bin", "pip"), "install", "-q", package], check=True)
    env = {"MPI_LIBRARY": os.path.join(home, "lib", library)} if library else {}
    given.append({"name": name, "path": os.path.join(home, "bin", "mpiexec"), "flags": flags, "env": env})
os.environ["STEPLOOM_TEST_MPI"] = json.dumps(given)
sys.exit(subprocess.run(["npx", "vitest", "run", "test/plugins/distributed/distributed.test.ts"]).returncode)
