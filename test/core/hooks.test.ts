import { describe, expect, test } from 'vitest';
import { type Host, type Plugin, SteploomError, Trainer } from '../../core/index.js';
import { smallRun } from '../support/small-run.js';

const failing = async (apply: (host: Host) => void): Promise<SteploomError> => {
  const plugin: Plugin = { name: 'mine', apply };
  const error = await new Trainer(smallRun().with(plugin)).train().catch((e) => e);
  expect(error).toBeInstanceOf(SteploomError);
  expect(error.plugin).toBe('mine');
  return error;
};

describe('silent failures of tapable are named by plugin and hook', () => {
  test('a waterfall tap that returns nothing', async () => {
    const error = await failing(({ hooks }) => hooks.onLoss.tap('mine', (() => undefined) as never));
    expect([error.code, error.hook]).toEqual(['HOOK_UNDEFINED', 'onLoss']);
  });
  test('NaN out of a schedule', async () => {
    const error = await failing(({ hooks }) => hooks.onSchedule.tap('mine', () => Number.NaN));
    expect([error.code, error.hook]).toEqual(['HOOK_NAN', 'onSchedule']);
  });
  test('an async function in a synchronous hook', async () => {
    const error = await failing(({ hooks }) => hooks.afterStep.tap('mine', (async () => undefined) as never));
    expect([error.code, error.hook]).toEqual(['HOOK_ASYNC', 'afterStep']);
  });
  test('an async function tapped synchronously in an asynchronous hook', async () => {
    const error = await failing(({ hooks }) => hooks.onStart.tap('mine', (async () => undefined) as never));
    expect(error.code).toBe('HOOK_ASYNC');
  }, 10_000);
  test('what a tap throws, with its cause', async () => {
    const cause = new Error('out of tea');
    const error = await failing(({ hooks }) =>
      hooks.beforeStep.tap('mine', () => {
        throw cause;
      }),
    );
    expect([error.code, error.hook, error.cause]).toEqual(['HOOK_THREW', 'beforeStep', cause]);
    expect(error.message).toContain('out of tea');
  });
  test('what an asynchronous tap rejects with', async () => {
    const error = await failing(({ hooks }) =>
      hooks.beforeEpoch.tapPromise('mine', async () => {
        throw new Error('later');
      }),
    );
    expect([error.code, error.hook]).toEqual(['HOOK_THREW', 'beforeEpoch']);
  });
  test('a tap under another name, a second tap, a late tap', async () => {
    expect((await failing(({ hooks }) => hooks.afterStep.tap('other', () => undefined))).code).toBe('TAP_NAME');
    expect(
      (
        await failing(({ hooks }) => {
          hooks.afterStep.tap('mine', () => undefined);
          hooks.afterStep.tap('mine', () => undefined);
        })
      ).code,
    ).toBe('TAP_TWICE');
    const late = await failing(({ hooks }) =>
      hooks.onStart.tap('mine', () => {
        hooks.afterStep.tap('mine', () => undefined);
      }),
    );
    expect(late.code).toBe('HOOK_FROZEN');
  });
  test('model and plan asked for too early', async () => {
    expect((await failing((host) => void host.model())).code).toBe('TOO_EARLY');
    expect((await failing((host) => void host.plan())).code).toBe('TOO_EARLY');
  });
});

test('onError and dispose run when a step throws, in reverse order', async () => {
  const seen: string[] = [];
  const one: Plugin = {
    name: 'one',
    apply: ({ hooks }) => hooks.onError.tap('one', () => void seen.push('error')),
    dispose: () => void seen.push('one'),
  };
  const two: Plugin = {
    name: 'two',
    apply: ({ hooks }) =>
      hooks.afterStep.tap('two', () => {
        throw new Error('stop');
      }),
    dispose: () => void seen.push('two'),
  };
  await expect(new Trainer(smallRun().with(one, two)).train()).rejects.toThrow('stop');
  expect(seen).toEqual(['error', 'two', 'one']);
});

test('dispose runs when set-up fails', async () => {
  const seen: string[] = [];
  const one: Plugin = { name: 'one', dispose: () => void seen.push('one') };
  const two: Plugin = {
    name: 'two',
    apply: ({ hooks }) =>
      hooks.validate.tap('two', (problems) => {
        problems.add('OPTION_INVALID', 'two', 'a', 'b');
        problems.add('OPTION_INVALID', 'two', 'c', 'd');
      }),
  };
  const error = await new Trainer(smallRun().with(one, two)).train().catch((e) => e);
  expect(error.problems).toHaveLength(2);
  expect(seen).toEqual(['one']);
});

test('profile reports time and calls per hook and plugin', async () => {
  const plugin: Plugin = { name: 'mine', apply: ({ hooks }) => hooks.afterStep.tap('mine', () => undefined) };
  const result = await new Trainer(smallRun().with(plugin), { profile: true }).train();
  expect(result.profile?.find((t) => t.plugin === 'mine')).toMatchObject({ hook: 'afterStep', calls: 6 });
  expect((await new Trainer(smallRun()).train()).profile).toBeUndefined();
});
