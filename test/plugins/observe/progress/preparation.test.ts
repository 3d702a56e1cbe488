import { expect, test } from 'vitest';
import { preparation } from '../../../../plugins/observe/progress/preparation.js';
import { StatusLine } from '../../../../plugins/observe/progress/status-line.js';

/** What is written where two things are prepared one after the other. */
const written = (isTTY: boolean) => {
  let text = '';
  const show = preparation({
    isTTY,
    write: (more: string) => {
      text += more;
    },
  });
  for (let i = 1; i <= 40; i++) show(i, 40, 'latents');
  for (let i = 1; i <= 2; i++) show(i, 2, 'captions');
  return text;
};

test('each tenth of what is prepared is a line', () => {
  const tenths = Array.from({ length: 10 }, (_, i) => `latents ${4 * (i + 1)}/40\n`);
  expect(written(false)).toBe(`${tenths.join('')}captions 1/2\ncaptions 2/2\n`);
});

test('on a terminal a bar comes back, and what else is said stands above it', () => {
  let text = '';
  const stream = { isTTY: true, columns: 30, write: (more: string) => void (text += more) };
  const line = StatusLine.of(stream);
  const show = preparation(stream);
  line.print('before');
  line.show('bar '.repeat(20));
  for (let i = 1; i <= 3; i++) show(i, 3, 'held out');
  line.print('a warning');
  line.leave();
  line.leave();
  const lines = text.split('\n').map((one) => one.split('\r\u001b[K').at(-1) as string);
  expect(lines).toEqual(['before', 'a warning', 'bar '.repeat(20).slice(0, 29), '']);
  expect(text).toContain('held out 2/3');
});

test('on a terminal there is one line a thing', () => {
  const lines = written(true).split('\n');
  expect(lines.map((line) => line.split('\r\u001b[K').at(-1))).toEqual(['latents 40/40', 'captions 2/2', '']);
  expect(lines[0].split('\r')).toHaveLength(40);
});
