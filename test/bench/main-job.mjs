// The main job's three kinds of work, in turns that arguments ask for, or lines on standard input: `step N`, `sample N` (steps of a guided walk), `decode N` (times).
// Each is answered by the milliseconds of each, as JSON. main_job.py alternates it with PyTorch.
//   npm run build && node test/bench/main-job.mjs wasm 'step 8' 'sample 8' 'decode 4' [--option=value ...]       options as of the preset emoji, in JSON
import { mkdtempSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeContext, seededRandom, Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { ddim } from '../../dist/plugins/index.js';
import { sampleImages } from '../../dist/plugins/samplers/walk/sample-images.js';
import { emoji } from '../../dist/presets/index.js';
import { wordsAndOptions } from './options.mjs';

const {
  words: [device = 'wasm', ...turns],
  options,
} = wordsAndOptions(process.argv.slice(2));
/** Pictures in a batch of steps; what is drawn and decoded at once is the same. */
const PICTURES = options.trainBatchSize ?? 8;

/** Waits, the whole process does: nothing of it runs while the other's turn is measured. */
function line() {
  const byte = Buffer.alloc(1);
  let text = '';
  for (;;) {
    if (readSync(0, byte, 0, 1, null) === 0) return text;
    if (byte[0] === 10) return text;
    text += byte.toString('latin1');
  }
}
const answer = (times) => process.stdout.write(`${JSON.stringify(times.map((ms) => Number(ms.toFixed(2))))}\n`);
const fromArguments = turns.length > 0;
const asked = () => {
  const [what, count] = (fromArguments ? (turns.shift() ?? '') : line()).split(' ');
  return { what, count: Number(count) };
};

let turn = asked();
const clock = {
  name: 'clock',
  apply(host) {
    let times = [];
    let began = 0;
    host.hooks.onStart.tapPromise(async () => {
      began = performance.now();
    });
    host.hooks.shouldLog.tap(() => true);
    // A record's loss has been read: the device has done all of the step.
    host.hooks.onRecord.tap(() => {
      times.push(performance.now() - began);
      if (times.length === turn.count) {
        answer(times);
        turn = asked();
        times = [];
      }
      began = performance.now();
    });
    host.hooks.onRequest.tap((request) => (turn.what === 'step' ? request : { ...request, stop: 1 }));
    host.hooks.onEnd.tapPromise(async () => {
      const model = host.model();
      const weights = host.weights('sample');
      const context = makeContext(model, { mode: 'evaluate', parameters: weights });
      while (turn.what) {
        const times = [];
        if (turn.what === 'sample') {
          let at = performance.now();
          await sampleImages(model, weights, seededRandom(0), new Array(PICTURES).fill('red apple'), {
            steps: turn.count + 1,
            guidance: 2,
            batchSize: PICTURES,
            sampler: ddim(),
            onStep() {
              const now = performance.now();
              times.push(now - at);
              at = now;
            },
          });
          // The first also encodes the prompts.
          times.shift();
        } else {
          const latents = tf.zeros([PICTURES, model.latentSize, model.latentSize, model.channels]);
          for (let i = 0; i < turn.count; i++) {
            const began = performance.now();
            const image = tf.tidy(() => model.codec.decode(context, latents));
            await image.data();
            image.dispose();
            times.push(performance.now() - began);
          }
          latents.dispose();
        }
        answer(times);
        turn = asked();
      }
    });
  },
};
const outputDir = mkdtempSync(join(tmpdir(), 'steploom-main-job-'));
const preset = await emoji({
  device,
  outputDir,
  maxTrainSteps: 100_000,
  quiet: true,
  ...options,
});
await new Trainer(preset.without('emoji-figures').with(clock)).train();
rmSync(outputDir, { recursive: true });
process.exit();
