"""Opens the event files of a run with TensorBoard's own reader, and compares them with the run's log.jsonl.

    python test/parity/tensorboard_reader.py RUN    (a folder with log.jsonl and tensorboard/)
"""
import json
import math
import sys
from pathlib import Path

import tensorboard
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

run = Path(sys.argv[1])
reader = EventMultiplexer(size_guidance={"scalars": 0, "images": 0, "tensors": 0}).AddRunsFromDirectory(str(run))
reader.Reload()
[name] = reader.Runs()
tags = reader.Runs()[name]
log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
print(f"tensorboard {tensorboard.__version__}: scalars {tags['scalars']}, images {tags['images']}, tensors {tags['tensors']}")
for tag in tags["scalars"]:
    events = reader.Scalars(name, tag)
    wanted = [(line["step"], line[tag]) for line in log if tag in line]
    assert [e.step for e in events] == [step for step, _ in wanted], (tag, [e.step for e in events])
    for event, (_, value) in zip(events, wanted):
        assert math.isclose(event.value, value, rel_tol=1e-6, abs_tol=1e-12), (tag, event, value)
print(f"{len(log)} lines of the log, each step once, in every scalar")
for tag in tags["images"]:
    images = reader.Images(name, tag)
    print(f"image {tag}: steps {[i.step for i in images]}, {images[0].width} x {images[0].height}")
for tag in tags["tensors"]:
    texts = reader.Tensors(name, tag)
    print(f"text {tag}: {texts[-1].tensor_proto.string_val[0].decode().count(chr(10)) - 1} options, plugin "
          f"{reader.SummaryMetadata(name, tag).plugin_data.plugin_name}")
