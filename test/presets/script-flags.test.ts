import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { PRESETS } from '../../presets/cli/registry.js';
import { type OptionFacts, optionFacts, snake } from '../../presets/common/option-facts.js';
import { SCRIPT_FLAGS } from '../../presets/common/script-flags.js';

/** What test/parity/script_flags.py has read from the scripts. */
interface ScriptFlag {
  readonly type: 'str' | 'int' | 'float' | 'switch';
  readonly default: string | number | boolean | null;
  readonly required?: boolean;
}
const fixture = JSON.parse(await readFile(new URL('../fixtures/script-flags.json', import.meta.url), 'utf8')) as {
  readonly scripts: Readonly<Record<string, Readonly<Record<string, ScriptFlag>>>>;
};
const { works, idle, refused } = SCRIPT_FLAGS;
const lists = [works, idle, refused];

/** Kinds of options that take what a script's flag takes. */
const KINDS: Readonly<Record<ScriptFlag['type'], readonly OptionFacts['kind'][]>> = {
  str: ['text', 'choice', 'names', 'texts'],
  int: ['whole', 'number'],
  float: ['number'],
  switch: ['boolean'],
};

test('every flag of the scripts stands in one of the lists, and none that is not theirs', () => {
  const flags = new Set(Object.values(fixture.scripts).flatMap(Object.keys));
  expect(flags.size).toBeGreaterThan(60);
  expect(lists.flatMap((list) => Object.keys(list)).sort()).toEqual([...flags].sort());
});

const standing = Object.entries(PRESETS).flatMap(([preset, { options, scripts = [] }]) =>
  scripts.map((script) => [preset, script, options] as const),
);

test.each(standing)('%s takes the commands of %s, with its defaults or with a word on them', (_, script, schema) => {
  const options = new Map(optionFacts(schema).map((facts) => [snake(facts.name), facts]));
  for (const [flag, theirs] of Object.entries(fixture.scripts[script])) {
    const ours = options.get(flag);
    if (!ours) {
      expect(flag in idle || flag in refused, flag).toBe(true);
      continue;
    }
    expect(KINDS[theirs.type], flag).toContain(ours.kind);
    // None, false and an empty list all stand for nothing.
    const same = (ours.fallback ?? null) === theirs.default && ours.required === (theirs.required ?? false);
    expect([flag, same || works[flag] !== ''], flag).toEqual([flag, true]);
  }
});

test('where a default differs, the list says the scripts’', () => {
  const defaults = (flag: string) => standing.flatMap(([, script]) => fixture.scripts[script][flag] ?? []);
  for (const [flag, note] of Object.entries(works)) {
    if (note === '') continue;
    for (const theirs of defaults(flag)) {
      const said = theirs.required ? 'required' : (theirs.default ?? (flag === 'mixed_precision' ? 'accelerate' : 'none'));
      expect(note, flag).toContain(String(said));
    }
  }
});
