#!/usr/bin/env node
import { statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { type Composition, fail, type Span, SteploomError, seededRandom, type TapTime, Trainer, weightsOf } from '../../core/index.js';
import { DEVICES } from '../../plugins/devices/device.js';
import { launched } from '../../plugins/distributed/mpi/launcher.js';
import { wasPrinted } from '../../plugins/distributed/mpi.js';
import { packageVersion } from '../common/package-root.js';
import { addOptions, checkOptions, givenOptions, readConfig } from './options.js';
import { PRESETS, type Preset } from './registry.js';

/** Exit codes: something is wrong before anything was trained; Ctrl-C or SIGTERM stopped the run. */
const USAGE = 2;
const INTERRUPTED = 130;
const TERMINATED = 143;

const program = new Command('steploom')
  .version(packageVersion())
  .description('Fine-tune models with TensorFlow.js.')
  .exitOverride()
  .showHelpAfterError('(steploom --help shows what there is)');

/** Adds a command per preset below `parent`. */
function perPreset(
  parent: Command,
  act: (composition: Composition, command: Command) => Promise<void>,
  extra: (command: Command) => void = () => undefined,
): void {
  for (const [name, preset] of Object.entries(PRESETS)) {
    const command = parent.command(name).description(preset.summary).exitOverride();
    command.addOption(new Option('--config <file>', 'Options and plugins from a .ts, .js, .json or .yaml file; flags win over it.'));
    addOptions(command, preset.options);
    extra(command);
    command.action(async () => act(await makeComposition(preset, command), command));
  }
}

async function makeComposition(preset: Preset, command: Command): Promise<Composition> {
  const config = command.opts().config ? await readConfig(command.opts().config) : { options: {}, plugins: [] };
  const options = { ...config.options, ...givenOptions(command, preset.options) };
  checkOptions(preset.options, options);
  const composition = await preset.make(options as never);
  return config.plugins.length > 0 ? composition.with(...config.plugins) : composition;
}

perPreset(
  program.command('train').description('Train a preset.'),
  train,
  (command) =>
    void command.option(
      '--profile [file]',
      'Print the time spent in each hook by each plugin; into a file every call, for Perfetto or chrome://tracing.',
    ),
);
perPreset(
  program.command('explain').description('Show what a preset would do: who runs when, and the plan. Trains nothing.'),
  async (composition) => {
    const trainer = new Trainer(composition);
    try {
      console.log((await trainer.explain()).text);
    } finally {
      await trainer.dispose();
    }
  },
);

async function train(composition: Composition, command: Command): Promise<void> {
  const trainer = new Trainer(composition, { profile: command.opts().profile !== undefined });
  const { device, text } = await trainer.explain().catch(async (error) => {
    await trainer.dispose();
    throw error;
  });
  if ((launched()?.rank ?? 0) === 0) console.error(`training on ${device}`);
  const page = composition.plugins.find((plugin) => plugin.name === 'ui') as { describe?(text: string): void } | undefined;
  page?.describe?.(text);
  const controller = new AbortController();
  let code = INTERRUPTED;
  const interrupt = (signal: NodeJS.Signals) => {
    if (signal === 'SIGTERM') code = TERMINATED;
    if (controller.signal.aborted) process.exit(code);
    console.error(`\nstopping${signal === 'SIGINT' ? '; Ctrl-C again ends at once' : ''}`);
    controller.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    const result = await trainer.train({ signal: controller.signal });
    if (result.profile) printProfile(result.profile);
    const { profile } = command.opts();
    if (typeof profile === 'string' && result.spans) {
      await writeFile(profile, traceOf(result.spans));
      console.error(`wrote ${profile}`);
    }
    if (controller.signal.aborted && result.stopped) process.exitCode = code;
  } catch (error) {
    report(error);
    process.exitCode = 1;
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
}

/** Spans in the Trace Event Format (complete events, microseconds). */
const traceOf = (spans: readonly Span[]): string =>
  JSON.stringify({
    displayTimeUnit: 'ms',
    traceEvents: spans.map(({ hook, part, start, milliseconds }) => ({
      name: part,
      cat: hook,
      ph: 'X',
      ts: 1000 * start,
      dur: 1000 * milliseconds,
      pid: launched()?.rank ?? 0,
      tid: 1,
      args: { hook },
    })),
  });

function printProfile(times: readonly TapTime[]): void {
  console.log(`\n${'hook'.padEnd(16)}${'plugin'.padEnd(20)}${'calls'.padStart(8)}${'ms'.padStart(12)}`);
  for (const { hook, plugin, calls, milliseconds } of [...times].sort((a, b) => b.milliseconds - a.milliseconds))
    if (calls > 0) console.log(`${hook.padEnd(16)}${plugin.padEnd(20)}${String(calls).padStart(8)}${milliseconds.toFixed(1).padStart(12)}`);
}

const number = (text: string): number => Number(text);

program
  .command('launch')
  .description('Run a command in several processes that train together: steploom launch --processes 2 -- train emoji.')
  .exitOverride()
  .requiredOption('--processes <n>', 'How many; on a machine with GPUs, one for each.', number)
  .option('--hosts <names>', 'Machines, with commas between, as mpirun takes them.')
  .option('--mpirun <path>', 'The launcher; mpirun or mpiexec by default.')
  .argument('<command...>', 'What to run, behind --.')
  .action(async (command: string[], o) => {
    const { launch } = await import('./launch.js');
    process.exitCode = await launch(command, o);
  });

const withModel = (command: Command): Command =>
  command
    .exitOverride()
    .option('--pretrained_model_name_or_path <folder>', 'A model in diffusers’ folder layout; the packaged emoji base by default.')
    .option('--device <name>', 'Where to compute.', 'auto');

withModel(program.command('sample').description('Draw pictures.'))
  .requiredOption('--prompt <text...>', 'What to draw; several give a grid.')
  .option('--lora <path>', 'An adapter: a .safetensors file, or the folder of a run.')
  .option('--sampler <name>', 'ddim or dpm-solver++.', 'ddim')
  .option('--num_inference_steps <n>', 'Sampling steps.', number, 25)
  .option('--guidance_scale <x>', 'Classifier-free guidance; 1 turns it off.', number, 2)
  .option('--seed <n>', 'Another seed gives another picture.', number, 0)
  .option('--output <file>', 'The PNG to write.', 'sample.png')
  .action(async (o) => {
    const { openModel, drawTo } = await import('./models.js');
    const model = await openModel(o.pretrained_model_name_or_path, o.device, loraPath(o.lora));
    await drawTo(model, o.prompt, { ...o, steps: o.num_inference_steps, guidance: o.guidance_scale, random: seededRandom(o.seed) });
    console.log(`wrote ${o.output}`);
  });

withModel(program.command('merge').description('Add an adapter to its model’s own weights and save the model.'))
  .requiredOption('--lora <path>', 'An adapter: a .safetensors file, or the folder of a run.')
  .requiredOption('--output_dir <folder>', 'Where the model is written.')
  .option('--half', 'Write float16.')
  .action(async (o) => {
    const { openModel, saveTo } = await import('./models.js');
    const model = await openModel(o.pretrained_model_name_or_path, o.device, loraPath(o.lora));
    await saveTo(o.output_dir, model, weightsOf(model), o.half === true);
    console.log(`wrote ${o.output_dir}`);
  });

program
  .command('ui')
  .description('Show the runs below a folder on a page of this machine, side by side.')
  .exitOverride()
  .argument('[folder]', 'A folder of runs, each with a log.jsonl.', 'runs')
  .option('--port <n>', 'Any free one by default.', number, 0)
  .option('--host <name>', 'The interface to listen on; others than this machine need the token in the address.', '127.0.0.1')
  .action(async (folder: string, o) => {
    const { runsBelow, serveRuns } = await import('../../plugins/observe/page/server.js');
    const runs = runsBelow(folder);
    await runs().catch((error) => fail('FILE_UNREADABLE', 'ui', `${folder}: ${error.message}`, 'Give a folder of runs.'));
    const { address, close } = await serveRuns({ ...o, runs });
    console.log(address);
    await new Promise<void>((resolve) => {
      process.once('SIGINT', () => resolve());
      process.once('SIGTERM', () => resolve());
    });
    await close();
  });

program
  .command('devices')
  .description('Show which devices work here, how fast they are, and what would make others work.')
  .exitOverride()
  .addOption(new Option('--only <name>', 'Look at one device, in this process.').choices([...DEVICES]))
  .option('--json', 'Print a line of JSON for each.')
  .action(async (o) => {
    const { describe, lookAt, lookAtAll } = await import('./devices.js');
    const lines = o.only ? [await lookAt(o.only)] : await lookAtAll();
    if (o.json) for (const line of lines) console.log(JSON.stringify(line));
    else console.log(describe(lines));
  });

/** A run's folder stands for the adapter in it. */
function loraPath(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return statSync(path).isDirectory() ? join(path, 'pytorch_lora_weights.safetensors') : path;
  } catch {
    return path;
  }
}

function report(error: unknown): void {
  if (wasPrinted(error)) return;
  if (error instanceof SteploomError)
    for (const { code, plugin, what, fix } of error.problems) console.error(`error ${code} (${plugin}): ${what}. ${fix}`);
  else console.error(error);
}

/** --learning-rate is --learning_rate; what follows = and single dashes stay as they are. */
const underscored = (argument: string): string => {
  if (!argument.startsWith('--')) return argument;
  const [name, ...value] = argument.split('=');
  return [`--${name.slice(2).replaceAll('-', '_')}`, ...value].join('=');
};

try {
  await program.parseAsync(process.argv.slice(2).map(underscored), { from: 'user' });
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE;
  else {
    report(error);
    process.exitCode = error instanceof SteploomError ? USAGE : 1;
  }
}
// Threads of devices would keep the process alive.
process.stdout.write('', () => process.exit());
