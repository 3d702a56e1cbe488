"""Writes the flags of diffusers' training scripts that the presets stand for: their names, types and defaults. No library is needed.

    python test/parity/script_flags.py <a checkout of diffusers> > test/fixtures/script-flags.json
"""

import ast
import json
import re
import sys
from pathlib import Path

SCRIPTS = [
    "text_to_image/train_text_to_image_lora.py",
    "text_to_image/train_text_to_image_lora_sdxl.py",
    "dreambooth/train_dreambooth_lora.py",
]


def flags_of(source: str) -> dict:
    flags = {}
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument"):
            continue
        name = ast.literal_eval(node.args[0]).removeprefix("--")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        is_switch = "action" in given
        flags[name] = {
            "type": "switch" if is_switch else given["type"].id if "type" in given else "str",
            "default": ast.literal_eval(given["default"]) if "default" in given else False if is_switch else None,
            **({"required": True} if "required" in given and ast.literal_eval(given["required"]) else {}),
        }
    return flags


root = Path(sys.argv[1])
version = re.search(r'version="([^"]+)"', (root / "setup.py").read_text()).group(1)
scripts = {Path(path).name: flags_of((root / "examples" / path).read_text()) for path in SCRIPTS}
json.dump({"diffusers": version, "scripts": scripts}, sys.stdout, indent=1)
print()
