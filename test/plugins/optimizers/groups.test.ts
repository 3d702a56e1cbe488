import { describe, expect, test } from 'vitest';
import { Trainer } from '../../../core/index.js';
import { matches } from '../../../core/name-pattern.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { groups } from '../../../plugins/optimizers/groups.js';
import { sgd } from '../../../plugins/optimizers/sgd.js';
import { cosine } from '../../../plugins/schedules/cosine.js';
import { memoryStore, smallRun, weightsRecorder } from '../../support/small-run.js';

const train = async (preset: ReturnType<typeof smallRun>) => {
  const recorder = weightsRecorder();
  await new Trainer(preset.with(recorder.plugin), { warn: () => undefined }).train();
  return recorder.steps;
};

describe('parameter groups', () => {
  test('a name fits whole parts of a path, * any part of one', () => {
    const path = 'unet.down_blocks.0.norm1.weight';
    for (const pattern of ['weight', 'unet', 'norm1.weight', '*norm*', 'norm*', /blocks\.0/, path])
      expect(matches(pattern, path)).toBe(true);
    for (const pattern of ['norm', 'eight', 'down', 'norm*.bias', 'unet.norm1']) expect(matches(pattern, path)).toBe(false);
  });

  test('no decay for one parameter: only it moves otherwise', async () => {
    const decayed = await train(smallRun({ weightDecay: 0.5, steps: 1 }));
    const without = await train(smallRun({ weightDecay: 0, steps: 1 }));
    const mixed = await train(smallRun({ weightDecay: 0.5, steps: 1 }).with(groups(adamw(), { flat: { match: 'b', weightDecay: 0 } })));
    expect(mixed[0].w).toEqual(decayed[0].w);
    expect(mixed[0].b).toEqual(without[0].b);
    expect(mixed[0].b).not.toEqual(decayed[0].b);
  });

  test('half the rate, under the same schedule', async () => {
    const trainer = new Trainer(smallRun({ steps: 4 }).with(cosine(), groups(adamw(), { half: { match: ['b'], rateFactor: 0.5 } })), {
      warn: () => undefined,
    });
    const { learningRates } = await trainer.explain();
    expect(learningRates?.length).toBeGreaterThan(2);
    for (const { rates } of learningRates ?? []) expect(rates.half).toBeCloseTo(0.5 * rates.main, 12);
    await trainer.dispose();
  });

  test('another optimizer: the group moves as that one moves it, the rest as before', async () => {
    const [adam, plain] = [await train(smallRun({ steps: 3 })), await train(smallRun({ steps: 3 }).with(sgd()))];
    const mixed = await train(smallRun({ steps: 1 }).with(groups(adamw(), { flat: { match: 'b', optimizer: sgd } })));
    expect(mixed[0].w).toEqual(adam[0].w);
    expect(mixed[0].b).toEqual(plain[0].b);
    // Two of one kind keep their states apart.
    const named = await train(
      smallRun({ steps: 2 }).with(groups(adamw(), { flat: { match: 'b', optimizer: ({ name }) => adamw({ name, beta1: 0.5 }) } })),
    );
    expect(named[1].w).not.toEqual(named[0].w);
    expect(named[1].b).not.toEqual(adam[1].b);
  });

  test('state of both optimizers is counted', async () => {
    const trainer = new Trainer(
      smallRun().with(groups(adamw(), { flat: { match: 'b', optimizer: ({ name }) => sgd({ name, momentum: 0.9 }) } })),
    );
    expect((await trainer.explain()).optimizerBytes).toBe(4 * 2 * 4 + 16 + 2 * 4);
    await trainer.dispose();
  });

  test('what fits nothing, and what contradicts itself, is an error before training', async () => {
    const wrong = smallRun().with(
      groups(adamw(), { flat: { match: ['b', 'bias'] }, other: { match: 'w', learningRate: 1, rateFactor: 2 } }),
    );
    await expect(new Trainer(wrong).train()).rejects.toThrow(/OPTION_INVALID.*other has a learningRate and a rateFactor/);
    const unmatched = smallRun().with(groups(adamw(), { flat: { match: ['b', 'bias'] } }));
    await expect(new Trainer(unmatched).train()).rejects.toThrow(/PATTERN_UNMATCHED.*bias of the group flat.*such as w, b/);
  });

  test('of a resumed run may have other rates, which is said, and no other members', async () => {
    const decay = (match: string, weightDecay: number) => groups(adamw(), { flat: { match, weightDecay } });
    const first = memoryStore(2);
    await train(smallRun({ steps: 2 }).with(decay('b', 0), first.plugin));
    const resumed = async (plugin: ReturnType<typeof groups>) => {
      const warnings: string[] = [];
      const run = smallRun({ steps: 2 }).with(plugin, memoryStore(9, first.snapshots[0]).plugin);
      await new Trainer(run, { warn: (text) => warnings.push(text) }).train();
      return warnings.filter((text) => text.startsWith('resume'));
    };
    expect(await resumed(decay('b', 0))).toEqual([]);
    expect(await resumed(decay('b', 0.5))).toEqual([expect.stringMatching(/groups was .*"weightDecay":0\}.* is .*"weightDecay":0\.5/)]);
    await expect(resumed(decay('w', 0))).rejects.toThrow(/SNAPSHOT_OTHER_RUN.*groups\.flat was \["b"\], is \["w"\]/);
  });
});
