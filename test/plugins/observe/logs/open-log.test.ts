import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Plugin, Trainer } from '../../../../core/index.js';
import { type OpenLog, openLog } from '../../../../plugins/observe/logs/open-log.js';
import { checkpoint } from '../../../../plugins/persist/checkpoint.js';
import { smallRun } from '../../../support/small-run.js';

// A file that can be opened, and is never written: the disk is full.
const FULL = '/dev/full';

test.runIf(existsSync(FULL))('a log for which there is no space left is named, after its plugin', async () => {
  const log = await openLog('jsonl', FULL, 'a');
  await expect(log.append('{}\n')).rejects.toThrow(/FILE_UNWRITABLE \(jsonl\): \/dev\/full: ENOSPC.*space left/);
  await log.close();
});

/** A log whose disk is full at its second record. */
const filling = (path: string): Plugin => {
  let log: OpenLog | null = null;
  let records = 0;
  return {
    name: 'filling',
    apply({ hooks }) {
      hooks.shouldLog.tap(() => true);
      hooks.onRecord.tapPromise(async () => {
        log ??= await openLog('filling', ++records === 1 ? path : FULL, 'a');
        await log.append('line\n');
        await log.close();
        log = null;
      });
    },
  };
};

test.runIf(existsSync(FULL))('a run that ends of it says which file, and what is kept', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'steploom-full-'));
  const said: string[] = [];
  const run = smallRun({ steps: 6 }).with(filling(join(folder, 'log.txt')), checkpoint({ into: join(folder, 'run'), every: 3 }));
  await expect(new Trainer(run, { warn: (text) => said.push(text) }).train()).rejects.toThrow(
    /FILE_UNWRITABLE \(filling\): \/dev\/full: ENOSPC/,
  );
  expect(said.join('\n')).toMatch(/what the run had learnt after step \d is kept in \S+checkpoint-\d/);
  await rm(folder, { recursive: true });
});
