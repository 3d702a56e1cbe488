// Saves a model in float32 and float16, trains adapters of it and draws with each of them merged; opens_in_diffusers.py looks at what comes out.
//   node opens_in_diffusers.mjs MODEL OUT       (after npm run build)
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { seededRandom, weightsOf } from '../../dist/core/index.js';
import {
  buildTextToImage,
  dpmSolverPlusPlus,
  folder,
  LORA_FILE,
  mergeLora,
  readLora,
  sampleImages,
  textToImageModel,
  wasm,
} from '../../dist/plugins/index.js';
import { readSafetensors, writeSafetensors } from '../../dist/plugins/persist/formats/safetensors.js';
import { channelsLast, part, trainGiven } from './given.mjs';

const [from, out] = process.argv.slice(2);
const PROMPTS = ['a Red heart, 2 cats!', 'the cat'];
const STEPS = 4;
/** The denoiser's attention, as most adapters; and more of the denoiser with every text encoder. */
const ADAPTERS = {
  attention: { rank: 2, alpha: 3 },
  more: {
    rank: 3,
    alpha: 2,
    below: '',
    targets: ['to_q', 'to_out.0', 'ff.net.0.proj', 'ff.net.2', 'conv1', 'proj_in', 'q_proj', 'v_proj', 'out_proj', 'fc1'],
  },
};

const io = readSafetensors(await readFile(join(from, 'io.safetensors'))).tensors;
const given = {
  prompts: PROMPTS,
  ...Object.fromEntries(['latents', 'noises', 'timesteps'].map((name) => [name, io.get(`train.attention.${name}`)])),
};

/** Draws that begin with the latents that diffusers is given. */
const start = io.get('walk.latents');
const random = {
  item: (_, __, i) => ({
    normals: (into) => into.set(channelsLast({ ...part(start, i), shape: [1, ...start.shape.slice(1)] }).dataSync()),
  }),
};
const draw = async (model) => {
  const { shape, data } = await sampleImages(model, weightsOf(model), random, PROMPTS, {
    sampler: dpmSolverPlusPlus(),
    steps: 10,
    guidance: 5,
  });
  return { dtype: 'float32', shape, data: data.map((x) => (x + 1) / 2) };
};
const build = () => buildTextToImage({ from: folder(from), train: 'nothing' }, seededRandom(0));

const device = wasm();
await device.setUp();
const model = await build();
const images = { plain: await draw(model) };
await model.save(folder(join(out, 'float32')), weightsOf(model));
await model.save(folder(join(out, 'float16')), weightsOf(model), { half: true });
for (const [name, adapter] of Object.entries(ADAPTERS)) {
  const saveTo = join(out, name);
  await trainGiven({
    device: wasm(),
    model: textToImageModel({ from: folder(from), train: 'nothing' }),
    given,
    adapter,
    steps: STEPS,
    learningRate: 0.03,
    saveTo,
  });
  await device.setUp();
  const adapted = await build();
  await mergeLora(adapted, readLora(await readFile(join(saveTo, LORA_FILE)), adapted));
  images[name] = await draw(adapted);
}
await writeFile(join(out, 'images.safetensors'), writeSafetensors(images));
