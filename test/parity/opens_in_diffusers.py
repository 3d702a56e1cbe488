"""What steploom saves, opened by diffusers: tiny models of Stable Diffusion 1.5, 2.1 and XL, and adapters of them.

    npm run build && python test/parity/opens_in_diffusers.py [sd15] [sd21] [sdxl]      (none named: all)

steploom loads each folder of test/fixtures/pipelines, saves it in float32 and float16, trains two adapters and draws with each of them merged
(opens_in_diffusers.mjs). diffusers opens the folders with from_pretrained and the adapters with load_lora_weights, and draws too. Ends with 1
where something differs by more than is said.
"""
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import diffusers
import torch
import transformers
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
PIPELINES = HERE.parent / "fixtures" / "pipelines"
PROMPTS = ["a Red heart, 2 cats!", "the cat"]
BOUND = 2 / 255
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()
#: Where a configuration comes from, and who wrote it.
ASIDE = {"_name_or_path", "_diffusers_version", "_use_default_values", "transformers_version", "dtype"}
#: How diffusers' and peft's files end the names of an adapter's matrices.
DOWN, UP = r"\.(?:lora\.down|lora_linear_layer\.down|lora_A)\.weight$", r"\.(?:lora\.up|lora_linear_layer\.up|lora_B)\.weight$"


def opened(folder):
    kind = StableDiffusionXLPipeline if (folder / "text_encoder_2").exists() else StableDiffusionPipeline
    pipe = kind.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def networks(pipe):
    return {name: network for name, network in pipe.components.items() if isinstance(network, torch.nn.Module)}


def difference(pipe, original, dtype):
    """The first of the parts that is another than the original's, whose weights went through `dtype`; None where all are the same."""
    if pipe.components.keys() != original.components.keys() or dict(pipe.config).keys() != dict(original.config).keys():
        return "the parts"
    for name in (*networks(original), "scheduler"):
        configs = [dict(p.components[name].config.to_dict() if hasattr(p.components[name].config, "to_dict") else p.components[name].config)
                   for p in (original, pipe)]
        for key in sorted((configs[0].keys() | configs[1].keys()) - ASIDE):
            if configs[0].get(key) != configs[1].get(key):
                return f"{name}'s {key}: {configs[0].get(key)} became {configs[1].get(key)}"
    for name, network in networks(original).items():
        wanted, found = network.state_dict(), networks(pipe)[name].state_dict()
        if wanted.keys() != found.keys():
            return f"{name}'s weights: {sorted(wanted.keys() ^ found.keys())[:4]}"
        for path, value in wanted.items():
            if not torch.equal(value.to(dtype).float(), found[path]):
                return f"{name}.{path}"
    for name in ("tokenizer", "tokenizer_2"):
        if name in original.components:
            texts = [*PROMPTS, "", "naïve ☃ ﬁ", "cat " * 90]
            ids = [p.components[name](texts, padding="max_length", truncation=True).input_ids for p in (original, pipe)]
            if ids[0] != ids[1]:
                return name
    return None


def unused(pipe, file):
    """The matrices of an adapter's file that the pipeline did not take, or changed; and what it has that the file has not."""
    adapted = {}
    for name, network in networks(pipe).items():
        for path, module in network.named_modules():
            for part in ("lora_A", "lora_B"):
                for adapter in getattr(module, part, {}).values():
                    adapted[f"{name}.{path.removeprefix('text_model.')}", part] = adapter.weight.detach().cpu()
    given = {}
    for key, value in load_file(file).items():
        part, end = ("lora_A", DOWN) if re.search(DOWN, key) else ("lora_B", UP)
        given[re.sub(end, "", key).replace(".text_model.", "."), part] = value
    return sorted(f"{path} {part}" for path, part in given.keys() | adapted.keys()
                  if (path, part) not in given or (path, part) not in adapted or not torch.equal(given[path, part], adapted[path, part]))


def draw(pipe, latents):
    """Images [n, h, w, 3] in [0, 1]."""
    return torch.from_numpy(pipe(PROMPTS, latents=latents.clone(), num_inference_steps=10, guidance_scale=5, output_type="np").images)


def compare(name, out):
    wrong = []

    def say(what, worst, bound):
        print(f"{name}: {what}: largest difference {worst * 255:.3f} / 255" + ("" if worst <= bound else f", above {bound * 255:.3f}"), flush=True)
        if worst > bound:
            wrong.append(what)

    def check(what, fault):
        print(f"{name}: {what}: {fault or 'yes'}", flush=True)
        if fault:
            wrong.append(what)

    latents = load_file(PIPELINES / name / "io.safetensors")["walk.latents"]
    original = opened(PIPELINES / name)
    image = draw(original, latents)
    for precision, dtype, bound in (("float32", torch.float32, BOUND), ("float16", torch.float16, 1)):
        saved = opened(out / precision)
        check(f"saved in {precision}, all parts as they were", difference(saved, original, dtype))
        say(f"saved in {precision}, its own scheduler's image", (draw(saved, latents) - image).abs().max().item(), bound)

    ours = load_file(out / "images.safetensors")
    for adapter in ("plain", "attention", "more"):
        pipe = opened(out / "float32")
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(original.scheduler.config)
        if adapter == "plain":
            plain = draw(pipe, latents)
            say("steploom's image", (ours["plain"] - plain).abs().max().item(), BOUND)
            continue
        pipe.load_lora_weights(out / adapter)
        check(f"adapter '{adapter}', every key used", ", ".join(unused(pipe, out / adapter / "pytorch_lora_weights.safetensors")))
        image = draw(pipe, latents)
        print(f"{name}: adapter '{adapter}' changes diffusers' image by up to {(image - plain).abs().max().item() * 255:.0f} / 255")
        say(f"adapter '{adapter}', steploom's image with it merged", (ours[adapter] - image).abs().max().item(), BOUND)
    return wrong


if __name__ == "__main__":
    bad = {}
    for name in sys.argv[1:] or ("sd15", "sd21", "sdxl"):
        with TemporaryDirectory() as out:
            subprocess.run(["node", HERE / "opens_in_diffusers.mjs", PIPELINES / name, out], check=True)
            bad[name] = compare(name, Path(out))
    raise SystemExit(any(bad.values()))
