import { expect, test } from 'vitest';
import { Effects } from '../../../../plugins/devices/compute/undo.js';

test('every effect is taken back, the last first, whatever one of them throws; the first error is thrown, with the others attached', () => {
  const effects = new Effects();
  const undone: string[] = [];
  const add = (name: string, error?: Error) =>
    effects.add(() => {
      undone.push(name);
      if (error) throw error;
    });
  const [first, second] = [new Error('the first'), new Error('the second')];
  add('a', second);
  add('b');
  add('c', first);
  expect(effects.undo).toThrow(first);
  expect(undone).toEqual(['c', 'b', 'a']);
  expect(first).toMatchObject({ later: [second] });
  effects.undo();
  expect(undone).toHaveLength(3);
});
