import { expect, test } from 'vitest';
import { outcome } from '../../../presets/cli/outcome.js';

const at = (step: number, value: number) => ({ step, value });
const result = {
  step: 7,
  stopped: true,
  asked: true,
  metrics: { 'loss.held': 0.5, 'psnr.held': 26 },
  best: {
    loss: { least: at(12, 1.5), most: at(1, 9) },
    'loss.held': { least: at(4, 0.4), most: at(2, 0.6) },
    'psnr.held': { least: at(2, 20), most: at(6, 26.5) },
  },
  history: [...Array.from({ length: 30 }, (_, i) => ({ step: i + 1, loss: i < 10 ? 9 : 2 })), { step: 30, 'loss.held': 0.5 }],
  written: ['runs/a/log.jsonl', 'runs/a/checkpoint-7'],
  seconds: 125.2,
};

test('a run that was stopped says what it was worth, where it is and how to go on', () => {
  expect(outcome(result, 7)).toEqual([
    'stopped after step 7; 7 steps in 2 min 5 s',
    'loss 2.000, the mean of the last 20 that were logged, lowest 1.500 at step 12',
    'loss.held 0.5000, lowest 0.4000 at step 4',
    'psnr.held 26.00, highest 26.50 at step 6',
    'wrote runs/a/log.jsonl',
    'saved runs/a/checkpoint-7; go on with the same command and --resume_from_checkpoint latest',
  ]);
});

test('one that went on knows the best of what came since', () => {
  expect(outcome(result, 5).slice(0, 2)).toEqual([
    'stopped after step 7; 5 steps in 2 min 5 s',
    'loss 2.000, the mean of the last 20 that were logged, lowest since step 2: 1.500 at step 12',
  ]);
});

test('a fast dev run says that what it wrote is gone, and not how to go on', () => {
  expect(outcome({ ...result, stopped: false, step: 1 }, 1, true).slice(-2)).toEqual([
    'psnr.held 26.00, highest 26.50 at step 6',
    'one step of everything went well; the 2 files and folders that it wrote are deleted',
  ]);
  // Not everything came about.
  expect(outcome(result, 0, true).at(-1)).toBe('the 2 files and folders that it wrote are deleted');
});

test('one that is done goes on with more steps; where nothing was logged or saved nothing is said of it', () => {
  expect(outcome({ ...result, stopped: false }, 7).at(-1)).toMatch(/checkpoint-7; .*latest, and a larger --max_train_steps$/);
  expect(outcome({ ...result, history: [], metrics: {}, written: [] }, 1)).toEqual(['stopped after step 7; 1 step in 2 min 5 s']);
});
