import { describe, expect, test } from 'vitest';
import { afterError, attachLater, fail, type Plugin, printable, SteploomError, Trainer } from '../../core/index.js';
import { smallRun } from '../support/small-run.js';

const second = new Error('the second');
const caught = (work: () => never): unknown => {
  try {
    return work();
  } catch (error) {
    return error;
  }
};

describe('an error that comes after another is attached to it', () => {
  test('as `later`, with those before it', () => {
    const ours = caught(() => fail('OPTION_INVALID', 'mine', 'x is 1', 'Give 2.'));
    expect(attachLater(ours, second)).toBe(ours);
    expect(attachLater(ours, 'a third')).toBe(ours);
    expect(ours).toMatchObject({ later: [second, 'a third'] });
    const foreign = new TypeError('of another');
    expect(attachLater(foreign, second)).toBe(foreign);
    expect(attachLater(foreign, 'a third')).toBe(foreign);
    expect(foreign).toMatchObject({ later: [second, 'a third'] });
    expect(attachLater(foreign, foreign)).toBe(foreign);
  });

  test.each([
    ['a text', 'out of luck'],
    ['nothing', undefined],
    ['a frozen error', Object.freeze(new Error('out of luck'))],
    ['an error with another `later`', Object.assign(new Error('out of luck'), { later: 'at noon' })],
    ['an error with a frozen list', Object.assign(new Error('out of luck'), { later: Object.freeze([1]) })],
  ])('and %s, which cannot be given one, is the cause of an error that can', (_, first) => {
    const before = JSON.stringify(first);
    const error = attachLater(first, second) as Error & { later: unknown[] };
    expect(error.cause).toBe(first);
    expect(error.message).toBe(first === undefined ? 'undefined' : 'out of luck');
    expect(error.later).toEqual([second]);
    expect(JSON.stringify(first)).toBe(before);
    expect(attachLater(error, 'a third')).toBe(error);
    expect(error.later).toEqual([second, 'a third']);
  });

  test('of work that is done after an error, whether it throws or rejects', async () => {
    const first = new Error('the first');
    const throwing = () => {
      throw second;
    };
    expect(await afterError(first, throwing)).toBe(first);
    expect(await afterError(first, () => Promise.reject('a third'))).toBe(first);
    expect(await afterError(first, () => 'done')).toBe(first);
    expect(first).toMatchObject({ later: [second, 'a third'] });
  });
});

test('a run that fails with an error that is frozen is ended like any other', async () => {
  const called: string[] = [];
  const frozen = Object.freeze(new SteploomError({ code: 'OPTION_INVALID', plugin: 'failing', what: 'x is 1', fix: 'Give 2.' }));
  Object.freeze(frozen.later);
  const failing: Plugin = {
    name: 'failing',
    apply: ({ hooks }) => {
      hooks.afterStep.tap(() => {
        throw frozen;
      });
      hooks.onError.tap((error) => {
        called.push(error === frozen ? 'onError' : 'another');
        throw second;
      });
    },
    dispose: () => {
      called.push('dispose');
      throw new Error('the third');
    },
  };
  const error = await new Trainer(smallRun().with(failing)).train().catch((e) => e);
  expect(called).toEqual(['onError', 'dispose']);
  expect(error.cause).toBe(frozen);
  expect(error.later).toEqual([expect.objectContaining({ cause: second }), new Error('the third')]);
});

test('what would move a cursor, colour or turn round a terminal’s letters is printed as its number; emoji, line ends and tabs stay', () => {
  expect(printable('a\u001b[2J\u0007b.png')).toBe('a\\u001b[2J\\u0007b.png');
  // C1's own beginning of a sequence, and letters turned round.
  expect(printable('\u009b31m x\u202egnp.')).toBe('\\u009b31m x\\u202egnp.');
  expect(printable('one\n\ttwo é 雪 👩‍🚀')).toBe('one\n\ttwo é 雪 👩‍🚀');
});
