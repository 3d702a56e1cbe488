import { expect, test } from 'vitest';
import { checkOptions, fromText } from '../../../presets/cli/options.js';
import { PRESETS } from '../../../presets/cli/registry.js';
import { spelling } from '../../../presets/cli/spelling.js';
import { optionFacts, snake } from '../../../presets/common/option-facts.js';

test('options are spelt as in diffusers’ scripts', () => {
  expect(['learningRate', 'adamBeta1', 'use8bitAdam', 'rank'].map(snake)).toEqual(['learning_rate', 'adam_beta1', 'use_8bit_adam', 'rank']);
});

test('flags may have dashes, and the names that they had once', () => {
  const spelled = spelling([
    { long: '--learning_rate', flags: '--learning_rate <number>' },
    { long: '--use_8bit_adam', flags: '--use_8bit_adam [true|false]' },
  ]);
  expect(['--learning-rate=a-b', '--use-8bit-adam', '--use8bit_adam', '--use8bit-adam=true', '-x', 'a-b'].map(spelled)).toEqual([
    '--learning_rate=a-b',
    '--use_8bit_adam',
    '--use_8bit_adam',
    '--use_8bit_adam=true',
    '-x',
    'a-b',
  ]);
  // A switch is turned off by no; what no command has stays as it was typed.
  expect(['--no-use-8bit-adam', '--no_use_8bit_adam', '--no-learning-rate', '--no-such-flag', '--no-use-8bit-adam=1'].map(spelled)).toEqual(
    ['--use_8bit_adam=false', '--use_8bit_adam=false', '--no-learning-rate', '--no-such-flag', '--no-use-8bit-adam=1'],
  );
});

test.each(Object.entries(PRESETS))('%s takes an empty text for nothing but what is drawn', (_, { options: schema }) => {
  const prompts = ['validationPrompt', 'negativePrompt', 'samplePrompt'];
  const refused = (given: object): string => {
    try {
      checkOptions(schema, given);
    } catch (error) {
      return String(error);
    }
    return '';
  };
  const asked = optionFacts(schema).filter(({ kind, choices }) => !choices && ['text', 'texts', 'names'].includes(kind));
  expect(asked.length).toBeGreaterThan(5);
  for (const { name, kind } of asked) {
    const value = kind === 'names' ? ['a', ''] : '';
    const said = `--${snake(name)} is ${JSON.stringify(value)}: expected a text that is not empty`;
    if (prompts.includes(name)) expect(refused({ [name]: value }), name).not.toContain(`--${snake(name)} is`);
    // What has numbers in it is refused for want of them.
    else if (name.endsWith('Pattern')) expect(refused({ [name]: value }), name).toContain(`--${snake(name)} is `);
    else expect(refused({ [name]: value }), name).toContain(said);
  }
});

test('a text that is no number is left for the schema to refuse', () => {
  expect(['1e-3', '.5', '5.', '-2', '', '0x10', '1,5', 'Infinity'].map((text) => fromText('number', text))).toEqual([
    0.001,
    0.5,
    5,
    -2,
    '',
    '0x10',
    '1,5',
    'Infinity',
  ]);
});
