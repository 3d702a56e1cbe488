"""What `steploom convert` writes, in the hands of others: each of the 30 adapters of test/fixtures/lora-forms is turned into diffusers' form and into
kohya's. The former is loaded and fused by diffusers and peft, the latter merged as ComfyUI and AUTOMATIC1111 do (alpha / rank x up x down, by the
module's name), and the UNet must give what the fixtures hold.

    npm run build && python test/parity/lora_files.py
"""
import logging
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file
from transformers import CLIPTextModel

logging.disable(logging.WARNING)
ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "test/fixtures"
expected = load_file(FIXTURES / "lora-forms/outputs.safetensors")
io = load_file(FIXTURES / "unet-tiny/io.safetensors")
ids = load_file(FIXTURES / "text-encoder-tiny/io.safetensors")["input_ids.short"].long()


def fresh():
    return (UNet2DConditionModel.from_pretrained(FIXTURES / "unet-tiny").eval(), CLIPTextModel.from_pretrained(FIXTURES / "text-encoder-tiny").eval())


@torch.no_grad()
def gap(name, unet, text):
    out = unet(io["sample"], io["timestep"].long(), text(ids).last_hidden_state).sample
    return ((out - expected[name]).abs().max() / expected[name].abs().max()).item()


worst = {"diffusers": 0.0, "kohya": 0.0}
with tempfile.TemporaryDirectory() as place:
    model = Path(place) / "model"
    for part, source in (("unet", "unet-tiny"), ("text_encoder", "text-encoder-tiny")):
        (model / part).mkdir(parents=True)
        shutil.copy(FIXTURES / source / "config.json", model / part)
    (model / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (model / "scheduler").mkdir()
    (model / "scheduler/scheduler_config.json").write_text('{"prediction_type": "epsilon"}')
    for name in expected:
        if name == "plain":
            continue
        written = {}
        for form in worst:
            written[form] = Path(place) / f"{form}.safetensors"
            subprocess.run(["node", ROOT / "dist/presets/cli/main.js", "convert", "--input", FIXTURES / "lora-forms" / name, "--output", written[form],
                            "--to", form, "--pretrained_model_name_or_path", model, "--overwrite", "true"], check=True, capture_output=True)
        unet, text = fresh()
        state, _, metadata = StableDiffusionPipeline.lora_state_dict(place, weight_name="diffusers.safetensors", return_lora_metadata=True)
        StableDiffusionPipeline.load_lora_into_unet(state, network_alphas=None, unet=unet, metadata=metadata)
        StableDiffusionPipeline.load_lora_into_text_encoder(state, network_alphas=None, text_encoder=text, prefix="text_encoder", metadata=metadata)
        unet.fuse_lora()
        worst["diffusers"] = max(worst["diffusers"], gap(name, unet, text))

        unet, text = fresh()
        state = load_file(written["kohya"])
        for prefix, network in (("lora_unet_", unet), ("lora_te_text_model_", text)):
            for path, module in network.named_modules():
                key = prefix + path.replace(".", "_")
                if f"{key}.alpha" not in state:
                    continue
                down, up, alpha = (state.pop(f"{key}.{end}") for end in ("lora_down.weight", "lora_up.weight", "alpha"))
                delta = up.flatten(1) @ down.flatten(1) * (alpha / down.shape[0])
                with torch.no_grad():
                    module.weight += delta.reshape(module.weight.shape)
        assert not state, list(state)
        worst["kohya"] = max(worst["kohya"], gap(name, unet, text))
print(f"{len(expected) - 1} adapters; furthest from what peft fuses: {worst}")
assert max(worst.values()) < 1e-5
