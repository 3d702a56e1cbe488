import { expect, test } from 'vitest';
import { infotext } from '../../../presets/cli/infotext.js';

const drawing = {
  prompts: ['a ghost, white'],
  negativePrompt: 'blur',
  steps: 25,
  sampler: 'dpm-solver++-karras',
  guidance: 7.5,
  guidanceRescale: 0,
  seed: 42,
  width: 512,
  height: 768,
  model: 'models/sd15.safetensors',
  clipSkip: 1,
  adapters: [{ path: 'runs/lora', share: 0.8 }],
  version: '0.1.0',
} as const;

test('prompts and settings are written as AUTOMATIC1111’s web UI has them', () => {
  expect(infotext(drawing)).toBe(
    [
      'a ghost, white <lora:lora:0.8>',
      'Negative prompt: blur',
      'Steps: 25, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 42, Size: 512x768, Model: sd15, Clip skip: 2, Version: steploom 0.1.0',
    ].join('\n'),
  );
});

test('what has no effect is left out, prompts of a grid are lines, and odd names are quoted', () => {
  const text = infotext({
    ...drawing,
    prompts: ['one', 'two'],
    guidance: 1,
    clipSkip: 0,
    adapters: [],
    model: 'my, model',
    guidanceRescale: 0.7,
    sampler: 'ddim',
  });
  expect(text).toBe(
    'one\ntwo\nSteps: 25, Sampler: DDIM, CFG scale: 1, CFG Rescale: 0.7, Seed: 42, Size: 512x768, Model: "my, model", Version: steploom 0.1.0',
  );
  expect(infotext({ ...drawing, model: undefined })).toContain('Model: steploom emoji base,');
});
