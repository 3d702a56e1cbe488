// One rank of small runs, for the tests of distributed training: started alone or by mpirun, with the settings of a run, or of several that it makes
// one after the other, as JSON in the first argument. Writes what came of each to its <out>/rank-<rank>.json.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Trainer } from '../../dist/core/index.js';
import * as tf from '../../dist/core/tf.js';
import { stoppable } from '../../dist/presets/cli/signals.js';
import { jobOf, ownRank } from './rank-job.mjs';

// Imported late: importing it makes it the backend that tf would start with.
const threads = async () => (await import('@tensorflow/tfjs-backend-wasm')).getThreadsCount();

async function train(settings) {
  const { out } = settings;
  const { job, noted } = await jobOf(settings);
  mkdirSync(out, { recursive: true });
  // For a test that kills it from outside.
  writeFileSync(join(out, `pid-${ownRank}`), String(process.pid));
  // Runs are compared byte by byte: all have one name.
  const trainer = new Trainer(job, { runId: 'compared', warn: () => undefined });
  noted.trainer = trainer;
  const { result } = await stoppable((signal) => trainer.train({ signal }), console.error);
  const { rank, losses, rates, weights, metrics, stateBytes } = noted;
  const also = { tensors: tf.memory().numTensors, threads: tf.getBackend() === 'wasm' ? await threads() : 1 };
  writeFileSync(join(out, `rank-${rank}.json`), JSON.stringify({ ...result, losses, rates, weights, metrics, stateBytes, ...also }));
}

for (const settings of [JSON.parse(process.argv[2])].flat()) {
  // After an error that all ranks find, and that the test is about, the next run can be made.
  if (settings.fails) await train(settings).catch((error) => console.error(error.message));
  else await train(settings);
}
process.exit(0);
