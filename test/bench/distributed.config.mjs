// Configuration of distributed.mjs's runs: the base's training on made-up latents, without what a run writes, timed on rank 0.
import { arrays } from '../../dist/plugins/index.js';

const batch = Number(process.env.BENCH_BATCH);
const images = Number(process.env.BENCH_IMAGES ?? 16 * batch);
const data = Float32Array.from({ length: batch * 2048 }, (_, i) => Math.sin(i * 0.37));
const all = new Float32Array(images * 2048);
for (let at = 0; at < all.length; at += data.length) all.set(data.subarray(0, all.length - at), at);
const warm = Number(process.env.BENCH_WARM ?? 3);
let started = 0;
let steps = 0;

const probe = {
  name: 'probe',
  after: ['distributed'],
  apply(host) {
    // Waited for twice only: in between the device works behind.
    host.hooks.onSync.tapPromise('probe', async (sum, step) => {
      if (step === warm) {
        await sum.loss.data();
        started = performance.now();
      }
      if (step > warm) steps++;
      return sum;
    });
    host.hooks.onEnd.tapPromise('probe', async () => {
      const [{ variable }] = host.model().parameters.values();
      await variable.data();
      const ms = (performance.now() - started) / (steps + 1);
      if (host.isFirstRank()) console.log(`BENCH ${JSON.stringify({ ms, effectiveBatch: host.plan().effectiveBatch })}`);
    });
  },
};

export const plugins = () => [
  arrays(
    {
      moments: {
        dtype: 'float32',
        shape: [images, 16, 16, 8],
        data: all,
      },
    },
    { batchSize: batch, strings: { text: Array.from({ length: images }, (_, i) => (i % 2 ? 'red heart' : 'dog face')) } },
  ),
  { name: 'emoji-figures' },
  { name: 'save-model' },
  { name: 'checkpoint' },
  { name: 'summary' },
  probe,
];
