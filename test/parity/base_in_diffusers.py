"""The packaged base model opened by diffusers and transformers: the same outputs as ours?

    npm run build && python test/parity/base_in_diffusers.py
"""
import json
import math
import subprocess
from pathlib import Path

import diffusers
import torch
import transformers

root = Path(__file__).resolve().parents[2]
base = root / "presets" / "emoji" / "base"
ours = json.loads(subprocess.run(["node", "test/parity/base-output.mjs"], cwd=root, check=True, capture_output=True, text=True).stdout)

unet = diffusers.UNet2DConditionModel.from_pretrained(base / "unet").float().eval()
text = transformers.CLIPTextModel.from_pretrained(base / "text_encoder").float().eval()
with torch.no_grad():
    states = text(torch.tensor(ours["ids"])).last_hidden_state
    latents = torch.tensor([math.sin(0.37 * i) for i in range(2 * 12 * 16 * 16)], dtype=torch.float64).float().reshape(2, 12, 16, 16)
    output = unet(latents, torch.tensor([17, 801]), states).sample


def gap(name, mine, theirs):
    mine = torch.tensor(mine).reshape(theirs.shape)
    worst = ((mine - theirs).abs().max() / theirs.abs().max()).item()
    print(f"{name}: largest difference {worst:.1e} of the largest value")
    return worst


worst = max(gap("text states", ours["states"], states), gap("denoiser's output", ours["output"], output))
print(f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
raise SystemExit(worst > 1e-4)
