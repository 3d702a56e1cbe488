"""Pictures and tables as other libraries write them, for the tests of picture folders.

    python picture_fixtures.py

Writes test/fixtures/pictures with pillow 13.0.0 and pyarrow 26.0.1. Each .bmp is 9 x 5 pixels: (28 x, 60 y, 100) in colour, white where x + y is
even and black elsewhere in one bit, 28 x in grey.
"""
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

OUT = Path(__file__).resolve().parent.parent / "fixtures" / "pictures"
OUT.mkdir(exist_ok=True)
W, H = 9, 5
colour = Image.new("RGB", (W, H))
colour.putdata([(28 * x, 60 * y, 100) for y in range(H) for x in range(W)])
colour.save(OUT / "rgb.bmp")
colour.convert("RGBA").save(OUT / "rgba.bmp")
indexed = Image.new("P", (W, H))
indexed.putdata(list(range(W * H)))
indexed.putpalette([v for y in range(H) for x in range(W) for v in (28 * x, 60 * y, 100)])
indexed.save(OUT / "palette.bmp")
grey = Image.new("L", (W, H))
grey.putdata([28 * x for y in range(H) for x in range(W)])
grey.save(OUT / "grey.bmp")
bits = Image.new("1", (W, H))
bits.putdata([255 * ((x + y + 1) % 2) for y in range(H) for x in range(W)])
bits.save(OUT / "bits.bmp")



def png(colour):
    file = BytesIO()
    Image.new("RGB", (6, 4), colour).save(file, "PNG")
    return file.getvalue()


# As the library datasets writes them: two groups of rows.
colours = ["red", "lime", "blue"]
rows = pa.table(
    {
        "image": [{"bytes": png(colour), "path": f"{colour}.png"} for colour in colours],
        "text": [f"a {colour} one" for colour in colours],
        "texts": [[f"{colour} 1", f"{colour} 2"] for colour in colours],
        "label": [1, 2, 3],
    }
)
pq.write_table(rows, OUT / "dataset.parquet", compression="snappy", row_group_size=2)

names = {"file_name": ["one.png", "deep/two.png"], "text": ["eins, Käfer", "zwei"], "number": [7, 8]}
pq.write_table(pa.table(names), OUT / "names.parquet", compression="zstd")
