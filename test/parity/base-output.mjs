// Prints the packaged base's output for fixed inputs, as JSON; base_in_diffusers.py compares it. Run after npm run build.
import * as tf from '@tensorflow/tfjs';
import { makeContext, seededRandom, weightsOf } from '../../dist/core/index.js';
import { buildTextToImage, folder, wasm } from '../../dist/plugins/index.js';
import { emojiBaseFolder } from '../../dist/presets/index.js';

await wasm().setUp();
const model = await buildTextToImage({ from: folder(emojiBaseFolder()), train: 'nothing' }, seededRandom(0));
const context = makeContext(model, { mode: 'evaluate', parameters: weightsOf(model) });
const wave = (n, a) => Float32Array.from({ length: n }, (_, i) => Math.sin(a * i));
const prompts = ['ghost', 'grinning face'];
const latents = tf.tensor4d(wave(2 * 12 * 16 * 16, 0.37), [2, 12, 16, 16]).transpose([0, 2, 3, 1]);
const told = model.encode(context, prompts);
const out = model.predict(context, latents, [17, 801], told).transpose([0, 3, 1, 2]);
const ids = prompts.map((p) => [...model.tokenizer.encode(p)]);
process.stdout.write(JSON.stringify({ ids, states: [...(await told.states.data())], output: [...(await out.data())] }), () =>
  process.exit(),
);
