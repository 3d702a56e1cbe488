"""CLIP's vocabulary, and transformers' CLIPTokenizer on texts of all kinds, against steploom's.

    python tokenizer.py vocabulary     # writes presets/clip/merges.txt.gz
    python tokenizer.py fixture        # writes test/fixtures/tokenizer.json.gz: 1,500 texts and their ids
    python tokenizer.py [20000]        # draws so many texts and compares, from vocab.json and merges.txt and from tokenizer.json alone (needs the
                                       # built package and node); ends non-zero where one differs

The merges are those of OpenAI's CLIP (MIT), as open_clip_torch ships them (bpe_simple_vocab_16e6.txt.gz, the first 48,894). Runs with
transformers 5.23.0 and open_clip_torch.
"""
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
from transformers import CLIPTokenizer

from pipelines import byte_letters

ROOT = Path(__file__).resolve().parent.parent.parent
SPECIAL = ["<|startoftext|>", "<|endoftext|>"]
BLOCKS = [(0x20, 0x7F)] * 3 + [
    (0xA0, 0x250), (0x370, 0x400), (0x400, 0x500), (0x590, 0x600), (0x600, 0x700), (0x900, 0xD80), (0xE00, 0x1000), (0x1100, 0x1200),
    (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x2C00), (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xFB00, 0xFE10),
    (0xFE20, 0xFFEF), (0x10000, 0x10100), (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF), (0x1F1E6, 0x1F200), (0xE0020, 0xE007F)]
# Where tokenizers are known to go apart: special tokens inside, letters that change their number when lowered, white space that is none elsewhere.
TRAPS = [
    *SPECIAL, "!", "\u0085", "Σ", "ΟΔΟΣ", "Σας ΣΣ", "\ufeff", "İ", "ı", "ß", "ẞ", "'s", "'LL", "’s", "\u200d", "\u00a0", "\u3000", "\u2028",
    "\t\n", "\x1c", "\x00", "½", "²", "Ⅷ", "e\u0301", "가", "👨‍👩‍👧", "🏳️‍🌈", "<|EndOfText|>", "<|endoftext|>s", "12345", "a1b2", "...", "--",
    "</w>", "\u180e", "ſ", "K", "ǅ"]


def merges():
    source = Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    return gzip.decompress(source.read_bytes()).decode().split("\n")[1:49152 - 256 - 2 + 1]


def write(path, text):
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:.0f} kB")


def write_tokenizer(folder, padding):
    letters = byte_letters()
    pieces = letters + [f"{x}</w>" for x in letters] + [m.replace(" ", "") for m in merges()] + SPECIAL
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({p: i for i, p in enumerate(pieces)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges()) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": padding,
        "bos_token": SPECIAL[0], "eos_token": SPECIAL[1], "unk_token": SPECIAL[1]}))
    return pieces


def texts(count, pool):
    g = random.Random(0)

    def piece():
        k = g.random()
        if k < 0.3:
            return g.choice(pool).replace("</w>", "")
        if k < 0.45:
            return str(g.randrange(10 ** g.randrange(1, 9)))
        if k < 0.65:
            return g.choice(TRAPS)
        low, high = g.choice(BLOCKS)
        return "".join(chr(g.randrange(low, high)) for _ in range(g.randrange(1, 6)))

    made = []
    while len(made) < count:
        text = "".join(piece() + g.choice(["", " ", " ", "  "]) for _ in range(g.randrange(1, 8)))
        made.append(text.upper() if g.random() < 0.2 else text)
    return made


def cases(folder, padding, count, joined=False):
    """Texts and their ids, padded and cut as a text encoder gets them; `joined` leaves tokenizer.json as transformers writes it in place of the two files."""
    pool = write_tokenizer(folder, padding)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    if joined:
        tokenizer.save_pretrained(folder)
        for name in ("vocab.json", "merges.txt"):
            (folder / name).unlink()
        tokenizer = CLIPTokenizer.from_pretrained(folder)
    return [[text, tokenizer(text, padding="max_length", truncation=True)["input_ids"]] for text in texts(count, pool)]


def compare(count):
    differ = 0
    for joined in (False, True):
        for padding in ("<|endoftext|>", "!"):
            with TemporaryDirectory() as scratch:
                folder = Path(scratch)
                (folder / "cases.json").write_text(json.dumps(cases(folder / "tokenizer", padding, count, joined)))
                done = subprocess.run(["node", ROOT / "test/parity/tokenizer.mjs", folder], capture_output=True, text=True, check=True)
                files = "tokenizer.json" if joined else "vocab.json and merges.txt"
                print(f"{files}, padding {padding}: {done.stdout.strip()}", flush=True)
                differ += int(done.stdout.split()[0])
    sys.exit(1 if differ else 0)


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else "20000"
    if what == "vocabulary":
        write(ROOT / "presets/clip/merges.txt.gz", "\n".join(merges()) + "\n")
    elif what == "fixture":
        with TemporaryDirectory() as scratch:
            rows = {padding: cases(Path(scratch) / str(i), padding, 1500) for i, padding in enumerate(("<|endoftext|>", "!"))}
        # What follows the last word is all padding.
        short = {p: [[t, ids[: max(i for i, x in enumerate(ids) if x != ids[-1]) + 2 if ids[-1] != ids[0] else 77]] for t, ids in found] for p, found in rows.items()}
        write(ROOT / "test/fixtures/tokenizer.json.gz", json.dumps(short))
    else:
        compare(int(what))
