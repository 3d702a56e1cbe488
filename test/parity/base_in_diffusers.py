"""The packaged base opened by diffusers as one pipeline, alone and with the main job's adapter: does it draw what steploom draws?

    npm start && python test/parity/base_in_diffusers.py [runs/emoji]

Both draw two captions from the same latents. Ends with 1 where something differs by more than is said.
"""
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import diffusers
import peft
import torch
import transformers
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

root = Path(__file__).resolve().parents[2]
adapter = Path(sys.argv[1] if len(sys.argv) > 1 else root / "runs" / "emoji").resolve()
PROMPTS = ["ghost", "grinning face"]
BOUND = 2 / 255
diffusers.utils.logging.set_verbosity_error()
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()

with TemporaryDirectory() as folder:
    subprocess.run(["node", root / "test/parity/base-output.mjs", folder, adapter], cwd=root, check=True)
    ours = load_file(Path(folder) / "base.safetensors")

pipe = StableDiffusionPipeline.from_pretrained(root / "presets/emoji/base", dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
print(f"diffusers {diffusers.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, torch {torch.__version__}")
failed = []


def gap(name, mine, theirs, bound, unit=1.0):
    worst = (mine - theirs).abs().max().item() / unit
    print(f"{name}: largest difference {worst:.1e}{'' if unit == 1.0 else ' of the largest value'}")
    if not worst <= bound:
        failed.append(name)


def images():
    drawn = pipe(PROMPTS, latents=ours["latents"], num_inference_steps=10, guidance_scale=2.0, output_type="np").images
    return torch.from_numpy(drawn)


with torch.no_grad():
    ids = pipe.tokenizer(PROMPTS, padding="max_length", return_tensors="pt").input_ids
    print(f"ids are {'the same' if torch.equal(ids.int(), ours['ids']) else 'others'}")
    if not torch.equal(ids.int(), ours["ids"]):
        failed.append("ids")
    states = pipe.text_encoder(ids)[0]
    output = pipe.unet(ours["latents"], torch.tensor([17, 801]), states).sample
    gap("text states", ours["states"], states, 1e-4, states.abs().max().item())
    gap("denoiser's output", ours["output"], output, 1e-4, output.abs().max().item())
    plain = images()
    gap("pictures of the base", ours["images"], plain, BOUND)
    pipe.load_lora_weights(adapter)
    adapted = images()
    gap("pictures with the adapter", ours["adapted"], adapted, BOUND)
    print(f"the adapter changes them by up to {(adapted - plain).abs().max().item():.2f}")
raise SystemExit(f"too far apart: {', '.join(failed)}" if failed else 0)
