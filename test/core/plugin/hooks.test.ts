import { describe, expect, test } from 'vitest';
import { compose, type Host, OPTIMIZER, type Plugin, type State, SteploomError, Trainer } from '../../../core/index.js';
import { adamw } from '../../../plugins/optimizers/adamw.js';
import { groups } from '../../../plugins/optimizers/groups.js';
import { memoryStore, smallRun } from '../../support/small-run.js';

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

describe('what comes from JavaScript, and does not fit, is named by plugin', () => {
  test('a hook that does not exist', async () => {
    const error = await failing(({ hooks }) => (hooks as never as Record<string, { tap(fn: unknown): void }>).onSteps.tap(() => undefined));
    expect(error.code).toBe('HOOK_UNKNOWN');
    expect(error.message).toMatch(/there is no hook onSteps.*afterStep/);
  });
  test('a role by its name in quotes', async () => {
    const wrong = { name: 'mine', fills: 'SCHEDULE' } as never;
    const refused = await new Trainer(smallRun().with(wrong)).train().catch((e) => e);
    expect([refused.code, refused.plugin]).toEqual(['ROLE_UNKNOWN', 'mine']);
  });
  test('a factory in place of the plugin it makes', () => {
    expect(() => smallRun().with(adamw as never)).toThrow(/PLUGIN_NOT_CALLED \(adamw\).*Call it: adamw\(\)/);
    expect(() => compose(adamw as never)).toThrow(/PLUGIN_NOT_CALLED/);
  });
  test('a disposed tensor that is handed on: a value itself, or one of a batch or sum', async () => {
    const loss = await failing(({ hooks }) =>
      hooks.onLoss.tap((given) => {
        const doubled = given.mul(2) as typeof given;
        doubled.dispose();
        return doubled;
      }),
    );
    expect([loss.code, loss.hook]).toEqual(['TENSOR_DISPOSED', 'onLoss']);
    const sum = await failing(({ hooks }) =>
      hooks.afterBackward.tap((given) => {
        given.gradients.w.dispose();
        return given;
      }),
    );
    expect([sum.code, sum.hook]).toEqual(['TENSOR_DISPOSED', 'afterBackward']);
    expect(sum.message).toContain('gradients.w was disposed');
    const batch = await failing(({ hooks }) =>
      hooks.onBatch.tap((given) => {
        given.tensors.x.dispose();
        return given;
      }),
    );
    expect(batch.message).toContain('tensors.x was disposed');
  });
  test('an optimizer with state that nobody saves', async () => {
    const { capture: _, restore: __, ...forgetful } = adamw();
    const error = await new Trainer(smallRun().with(forgetful as never)).train().catch((e) => e);
    expect([error.code, error.plugin]).toEqual(['STATE_UNSAVED', 'adamw']);
    expect(error.message).toContain('bytes of state');
    const { restore: ___, ...deaf } = adamw();
    const second = await new Trainer(smallRun().with(deaf as never)).train().catch((e) => e);
    expect([second.code, second.plugin]).toEqual(['STATE_UNSAVED', 'adamw']);
  });
  test('an optimizer that makes state in its first step, which nobody saves', async () => {
    let bytes = 0;
    const lazy = {
      name: 'lazy',
      fills: OPTIMIZER,
      start: () => undefined,
      stateBytes: () => bytes,
      update: () => {
        bytes = 16;
      },
    };
    const error = await new Trainer(smallRun().with(lazy as never)).train().catch((e) => e);
    expect([error.code, error.plugin]).toEqual(['STATE_UNSAVED', 'lazy']);
    expect(error.message).toContain('16 bytes of state');
  });
  test('an optimizer with state that nobody saves, in a group', async () => {
    const optimizer = ({ name }: { name: string }) => {
      const { capture: _, restore: __, ...forgetful } = adamw({ name });
      return forgetful as never;
    };
    const error = await new Trainer(smallRun().with(groups(adamw(), { mine: { match: 'w', optimizer } }))).train().catch((e) => e);
    expect([error.code, error.plugin]).toEqual(['STATE_UNSAVED', 'mine-optimizer']);
  });
});

describe('plugins within plugins', () => {
  const inner = (seen: string[]) => {
    let count = 0;
    return {
      name: 'inner',
      apply: ({ hooks }: Host) => {
        hooks.afterStep.tap(() => {
          count++;
        });
        hooks.onEnd.tap(() => void seen.push(`count ${count}`));
      },
      capture: async () => ({ count }),
      restore: async (state: State) => {
        count = state.count as number;
      },
      dispose: () => void seen.push('inner disposed'),
    };
  };
  const outer = (seen: string[]): Plugin => ({
    name: 'outer',
    apply: (host) => host.adopt(inner(seen)),
    capture: async () => ({ mine: 1 }),
    restore: async (state) => void seen.push(`outer restored ${JSON.stringify(state)}`),
    dispose: () => void seen.push('outer disposed'),
  });

  test('hooks stand under its own name, state under its owner’s, and it goes with its owner', async () => {
    const seen: string[] = [];
    const store = memoryStore(4);
    const trainer = new Trainer(smallRun().with(outer(seen), store.plugin));
    const { hooks } = await trainer.explain();
    expect(hooks.find(({ hook }) => hook === 'onEnd')?.taps).toEqual(['inner']);
    await trainer.train();
    expect(seen).toEqual(['count 6', 'outer disposed', 'inner disposed']);
    expect(store.snapshots[0].plugins.outer).toEqual({ mine: 1, 'inner/count': 4 });
    const resumed: string[] = [];
    await new Trainer(smallRun().with(outer(resumed), memoryStore(4, store.snapshots[0]).plugin)).train();
    expect(resumed).toEqual(['outer restored {"mine":1}', 'count 6', 'outer disposed', 'inner disposed']);
  });

  test('one that is adopted late may not tap', async () => {
    const late: Plugin = { name: 'late', apply: (host) => host.hooks.onStart.tapPromise(() => host.adopt(inner([]))) };
    await expect(new Trainer(smallRun().with(late)).train()).rejects.toThrow(/HOOK_FROZEN \(inner\)/);
  });
});

test('what goes wrong while a failed run is ended is attached to the first error, never in its place', async () => {
  const bad = (name: string): Plugin => ({
    name,
    apply: ({ hooks }) =>
      hooks.onError.tap(() => {
        throw new Error(`${name} in onError`);
      }),
    dispose: () => {
      throw new Error(`${name} in dispose`);
    },
  });
  const first = new Error('the first');
  const failing: Plugin = {
    name: 'failing',
    apply: ({ hooks }) =>
      hooks.afterStep.tap(() => {
        throw first;
      }),
  };
  const error = await new Trainer(smallRun().with(bad('one'), failing)).train().catch((e) => e);
  expect(error.cause).toBe(first);
  expect(error.later.map((e: Error) => e.message.replace(/^HOOK_THREW.*?: /, ''))).toEqual([
    expect.stringContaining('one in onError'),
    'one in dispose',
  ]);
  // The same in set-up, with an error that is not ours.
  const unset: Plugin = {
    name: 'unset',
    apply: () => {
      throw first;
    },
  };
  const early = await new Trainer(smallRun().with(bad('one'), unset)).train().catch((e) => e);
  expect(early).toBe(first);
  expect(early.later.map((e: Error) => e.message)).toEqual(['one in dispose']);
});
