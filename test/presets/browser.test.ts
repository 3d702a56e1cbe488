import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const found = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) => existsSync(path));
if (!found) console.log('not tested here: training in a browser (no Chromium was found)');

/** Trains a LayersModel with adapters for 2 steps, in the page. */
const page = `
  import * as tf from 'steploom/tf';
  import { Trainer } from 'steploom';
  import { cpu, saveModel } from 'steploom/plugins';
  import { supervised } from 'steploom/presets';
  globalThis.trainHere = async () => {
    const model = tf.sequential({ layers: [
      tf.layers.conv2d({ inputShape: [6, 6, 1], filters: 3, kernelSize: 3, activation: 'relu' }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 2, activation: 'softmax' }),
    ] });
    const data = {
      x: { dtype: 'float32', shape: [4, 6, 6, 1], data: Float32Array.from({ length: 144 }, (_, i) => Math.sin(i)) },
      y: { dtype: 'int32', shape: [4], data: Int32Array.of(0, 1, 0, 1) },
    };
    const before = Array.from(model.getWeights()[0].dataSync());
    const preset = supervised({ model, device: cpu(), data, validation: data, metrics: ['accuracy'], loss: 'cross-entropy', steps: 2, batchSize: 2 });
    const { step, metrics } = await new Trainer(preset).train();
    const after = Array.from(model.getWeights()[0].dataSync());
    let refused = '';
    try { saveModel('out'); } catch (error) { refused = error.message; }
    return { refused, step, metrics, moved: after.some((x, i) => x !== before[i]), finite: after.every(Number.isFinite) };
  };`;

test.runIf(found)('the preset for supervised learning trains in headless Chromium', async () => {
  const { outputFiles } = await build({
    stdin: { contents: page, resolveDir: root },
    bundle: true,
    write: false,
    platform: 'browser',
    conditions: ['browser'],
    format: 'iife',
    logLevel: 'silent',
    external: ['webgpu'],
  });
  const browser = await chromium.launch({ executablePath: found as string, args: ['--no-sandbox'] });
  try {
    const tab = await browser.newPage();
    await tab.goto('about:blank');
    await tab.addScriptTag({ content: outputFiles[0].text });
    const result = await tab.evaluate(() => (globalThis as unknown as { trainHere(): Promise<unknown> }).trainHere());
    expect(result).toEqual({
      refused: expect.stringMatching(/OPTION_INVALID.*a page has no folder out.*inMemory/),
      step: 2,
      metrics: { 'loss.held': expect.any(Number), accuracy: expect.any(Number) },
      moved: true,
      finite: true,
    });
  } finally {
    await browser.close();
  }
});
