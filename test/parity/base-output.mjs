// Writes what the packaged base gives into OUT/base.safetensors, alone and with an adapter merged; base_in_diffusers.py compares it.
//   node base-output.mjs OUT [ADAPTER]       (after npm run build; ADAPTER is the folder of a run of the main job)
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { makeContext, seededRandom, weightsOf } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { buildTextToImage, ddim, folder, LORA_FILE, mergeLora, readLora, sampleImages, wasm } from '../../dist/plugins/index.js';
import { writeSafetensors } from '../../dist/plugins/persist/formats/safetensors.js';
import { emojiBaseFolder } from '../../dist/presets/index.js';

const [out, adapter] = process.argv.slice(2);
const PROMPTS = ['ghost', 'grinning face'];
await wasm().setUp();
const model = await buildTextToImage({ from: folder(emojiBaseFolder()), train: 'nothing' }, seededRandom(0));
const read = async (tensor) => ({ dtype: 'float32', shape: tensor.shape, data: await tensor.data() });
/** Latents as diffusers is given them: [2, 4, 16, 16], standard normal. */
const shape = [PROMPTS.length, 4, 16, 16];
const size = 4 * 16 * 16;
const latents = seededRandom(0)
  .named('latents')
  .normals(new Float32Array(PROMPTS.length * size));
const channelsLast = tf.tensor4d(latents, shape).transpose([0, 2, 3, 1]);
const lasts = await channelsLast.data();
const random = { item: (_, __, place) => ({ normals: (into) => into.set(lasts.subarray(place * size, (place + 1) * size)) }) };
const draw = async () => {
  const drawn = await sampleImages(model, weightsOf(model), random, PROMPTS, { sampler: ddim(), steps: 10, guidance: 2 });
  return { dtype: 'float32', shape: drawn.shape, data: drawn.data.map((x) => (x + 1) / 2) };
};

const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
const told = model.encode(context, PROMPTS);
const ids = PROMPTS.map((prompt) => [...model.tokenizer.encode(prompt)]);
const given = {
  ids: { dtype: 'int32', shape: [PROMPTS.length, ids[0].length], data: Int32Array.from(ids.flat()) },
  states: await read(told.states),
  latents: { dtype: 'float32', shape, data: latents },
  output: await read(model.predict(context, channelsLast, [17, 801], told).transpose([0, 3, 1, 2])),
  images: await draw(),
};
if (adapter !== undefined) {
  await mergeLora(model, readLora(await readFile(join(adapter, LORA_FILE)), model));
  given.adapted = await draw();
}
await writeFile(join(out, 'base.safetensors'), writeSafetensors(given));
process.exit();
