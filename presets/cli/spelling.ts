import type { Option } from 'commander';
import { numbersApart } from '../common/option-facts.js';
import { YES_OR_NO } from './options.js';

/**
 * Flags as the commands spell them: --learning-rate is --learning_rate, --use8bit_adam is --use_8bit_adam, as it was called once, and --no-ui is --ui=false. What
 * no command has stays as it was typed, as do what follows = and single dashes.
 */
export function spelling(options: readonly Pick<Option, 'long' | 'flags'>[]): (argument: string) => string {
  const known = new Set(options.map(({ long }) => long));
  const switches = new Set(options.filter(({ flags }) => flags.endsWith(YES_OR_NO)).map(({ long }) => long));
  return (argument) => {
    if (!argument.startsWith('--')) return argument;
    const [typed, ...value] = argument.split('=');
    const name = `--${numbersApart(typed.slice(2).replaceAll('-', '_'))}`;
    if (known.has(name)) return [name, ...value].join('=');
    const positive = name.replace(/^--no_/, '--');
    return positive !== name && switches.has(positive) && value.length === 0 ? `${positive}=false` : argument;
  };
}
