import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { build } from 'esbuild';
import { publint } from 'publint';
import ts from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const run = (command: string, args: string[], cwd: string) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

/** What `npm pack` says of what it wrote. */
interface Packed {
  readonly filename: string;
  readonly files: readonly { readonly path: string }[];
  /** Bytes, of the file and of what is in it. */
  readonly size: number;
  readonly unpackedSize: number;
}
let folder: string;
let packed: Packed;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'steploom-'));
  // dist/ was built before the tests; prepare would build it again under the feet of the others.
  [packed] = JSON.parse(run('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], root)) as [Packed];
});
afterAll(() => rm(folder, { recursive: true }));

test('the packed tarball holds what a user needs, installs into an empty folder and trains there', async () => {
  const paths = packed.files.map((f) => f.path);
  for (const wanted of [
    'package.json',
    'README.md',
    'LICENSE',
    'dist/core/index.js',
    'dist/core/index.d.ts',
    'dist/plugins/optimizers/adamw.js',
    'dist/presets/cli/main.js',
    'presets/emoji/base/MODEL_CARD.md',
  ])
    expect(paths).toContain(wanted);
  expect(
    paths.filter(
      (path) => !/^(dist|presets\/emoji\/base|docs)\/|^(package\.json|README\.md|CHANGELOG\.md|CONTRIBUTING\.md|LICENSE)$/.test(path),
    ),
  ).toEqual([]);
  expect(paths.filter((path) => /test|\.map$/.test(path))).toEqual([]);
  // What a page links to comes with it.
  const missing: string[] = [];
  for (const page of paths.filter((path) => path.endsWith('.md')))
    for (const [, link] of (await readFile(join(root, page), 'utf8')).matchAll(/\]\((?![a-z]+:|#)([^)#\s]+)/g))
      if (!paths.includes(normalize(join(page, '..', link)))) missing.push(`${page}: ${link}`);
  expect(missing).toEqual([]);

  await writeFile(join(folder, 'package.json'), '{"type": "module", "private": true}');
  run('npm', ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline', `./${packed.filename}`], folder);
  await writeFile(
    join(folder, 'train.mjs'),
    `import { Trainer } from 'steploom';
     import { wasm } from 'steploom/plugins/devices/wasm';
     import { folder } from 'steploom/plugins';
     import { emojiBaseFolder, loraInMemory } from 'steploom/presets';
     const seen = [];
     const mine = { name: 'mine', apply: ({ hooks }) => hooks.onSchedule.tap('mine', (rate, { step }) => (seen.push(step), rate / 2)) };
     const images = { dtype: 'float32', shape: [2, 32, 32, 3], data: new Float32Array(2 * 32 * 32 * 3).fill(0.5) };
     const preset = loraInMemory({ model: folder(emojiBaseFolder()), device: wasm(), images, captions: ['a', 'b'], steps: 2, batchSize: 2 });
     const { step } = await new Trainer(preset.with(mine)).train();
     console.log(JSON.stringify({ step, seen }));
     process.exit();`,
  );
  expect(JSON.parse(run(process.execPath, ['train.mjs'], folder).trim().split('\n').at(-1) as string)).toEqual({ step: 2, seen: [0, 1] });
  // Parts of TensorFlow.js, and not the whole.
  expect((await readdir(join(folder, 'node_modules', '@tensorflow'))).sort()).toEqual(
    ['backend-cpu', 'backend-wasm', 'backend-webgpu', 'core', 'data', 'layers'].map((name) => `tfjs-${name}`),
  );
  expect(run(join(folder, 'node_modules', '.bin', 'steploom'), ['--version'], folder).trim()).toBe('0.1.0');
  // npm may put what versions differ in below it.
  const own = (await readdir(join(folder, 'node_modules', 'steploom'))).filter((name) => name !== 'node_modules');
  expect(own.sort()).toEqual(['CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE', 'README.md', 'dist', 'docs', 'package.json', 'presets']);
});

test('the packed tarball is no larger than 30 MB, and publint finds nothing in it', async () => {
  expect(packed.size).toBeLessThan(packed.unpackedSize);
  expect(packed.unpackedSize).toBeLessThan(30e6);
  const tarball = new Uint8Array(await readFile(join(folder, packed.filename))).buffer;
  const { messages } = await publint({ pack: { tarball }, level: 'suggestion', strict: true });
  expect(messages).toEqual([]);
});

test('the types of the packed tarball are found where they are looked for', async () => {
  const whole = createPackageFromTarballData(new Uint8Array(await readFile(join(folder, packed.filename))));
  // Behind names with a star each file is an entry of its own: one of each room.
  const rooms = new Map(
    packed.files.flatMap(({ path }) => {
      const [, name, room] = /^dist\/((plugins\/\w+)\/[\w-]+)\.js$/.exec(path) ?? [];
      return room ? [[room, name]] : [];
    }),
  );
  expect(rooms.size).toBeGreaterThan(10);
  const checked = await checkPackage(whole, { includeEntrypoints: [...rooms.values()] });
  if (!checked.types) return expect.unreachable('no types are found');
  for (const name of ['.', './tf', './plugins', './presets', './presets/emoji', `./${rooms.get('plugins/optimizers')}`]) {
    const { resolutions, isWildcard } = checked.entrypoints[name];
    expect([isWildcard, resolutions['node16-esm'].resolution?.isTypeScript, resolutions.bundler.resolution?.isTypeScript], name).toEqual([
      false,
      true,
      true,
    ]);
  }
  // It is modules alone: require() of an older Node, and TypeScript's resolution of the time before `exports`, do not find them.
  const others = checked.problems.filter(
    (problem) => !('resolutionKind' in problem && /^(node10|node16-cjs)$/.test(problem.resolutionKind)),
  );
  expect(others).toEqual([]);
});

test('what is public resolves in an installed package, and nothing else does', async () => {
  const names: string[] = ['package.json', 'core', 'core/index'];
  for (const room of ['core', 'plugins', 'presets'])
    for (const path of (await readdir(join(root, room), { recursive: true })).filter((name) => /\.ts$/.test(name)))
      names.push(`${room}/${path.replace(/\.ts$/, '')}`);
  const script = `const names = JSON.parse(process.argv[1]);
    console.log(JSON.stringify(names.filter((name) => {
      try {
        return import.meta.resolve('steploom/' + name);
      } catch (error) {
        if (error.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw error;
        return false;
      }
    })));`;
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(names)], {
    cwd: folder,
    encoding: 'utf8',
  });
  // A plugin's file stands in the folder of its kind, a preset's directly in presets/; what they are made of stands deeper.
  const wanted = names.filter((name) => name === 'package.json' || /^(plugins\/[^/]+\/[^/]+|presets\/(?!index)[^/]+)$/.test(name));
  expect(JSON.parse(out)).toEqual(wanted);
  for (const name of ['plugins/optimizers/adamw', 'presets/emoji']) expect(wanted).toContain(name);
  for (const name of ['core/run/session', 'presets/cli/main', 'plugins/devices/wasm/backend', 'plugins/index']) {
    expect(names).toContain(name);
    expect(wanted).not.toContain(name);
  }
});

test('sideEffects names every file that does something when it is imported', async () => {
  const { sideEffects } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { sideEffects: string[] };
  const found: string[] = [];
  for (const room of ['core', 'plugins', 'presets'])
    for (const path of (await readdir(join(root, room), { recursive: true })).filter(
      (name) => /\.ts$/.test(name) && !/assembly/.test(name),
    )) {
      const file = ts.createSourceFile(path, await readFile(join(root, room, path), 'utf8'), ts.ScriptTarget.Latest);
      // Declarations do nothing by themselves; statements, and imports without names, do.
      const acts = file.statements.some(
        (statement) =>
          !(ts.isImportDeclaration(statement) && statement.importClause) &&
          !ts.isExportDeclaration(statement) &&
          !ts.isVariableStatement(statement) &&
          !ts.isFunctionDeclaration(statement) &&
          !ts.isClassDeclaration(statement) &&
          !ts.isInterfaceDeclaration(statement) &&
          !ts.isTypeAliasDeclaration(statement) &&
          !ts.isModuleDeclaration(statement),
      );
      if (acts) found.push(`./dist/${room}/${path.replace(/\.ts$/, '.js')}`);
    }
  expect(found.sort()).toEqual([...sideEffects].sort());
});

test('tfjs-node-gpu that is installed but broken says so, and what Node 23 took away is there when it is imported', async () => {
  const devices = (only: string) =>
    JSON.parse(
      execFileSync(
        process.execPath,
        [join(folder, 'node_modules', 'steploom', 'dist', 'presets', 'cli', 'main.js'), 'devices', '--only', only, '--json'],
        {
          cwd: folder,
          encoding: 'utf8',
        },
      ),
    ) as { works: boolean; why: string; fix: string };
  expect(devices('tfjs-node-gpu')).toMatchObject({ works: false, why: '@tensorflow/tfjs-node-gpu is not installed' });
  const fake = join(folder, 'node_modules', '@tensorflow', 'tfjs-node-gpu');
  await mkdir(fake);
  await writeFile(join(fake, 'package.json'), '{"name": "@tensorflow/tfjs-node-gpu", "version": "4.22.0", "main": "index.js"}');
  await writeFile(
    join(fake, 'index.js'),
    `const util = require('node:util');
     if (!util.isNullOrUndefined(undefined) || !util.isArray([]) || process.env.TF_FORCE_GPU_ALLOW_GROWTH !== 'true') throw new Error('not mended');
     if (process.env.CUDA_VISIBLE_DEVICES !== '0') throw new Error('every GPU is visible');
     throw new Error('The Node.js native addon module (tfjs_binding.node) can not be found at path: somewhere');`,
  );
  const { works, why, fix } = devices('tfjs-node-gpu');
  expect(works).toBe(false);
  expect(why).toMatch(/installed but does not load \(its binary is missing: .*tfjs_binding\.node/);
  expect(fix).toContain('docs/tfjs-node-gpu.md');
  // Several processes of a machine take a GPU each, out of those they may use.
  await writeFile(join(fake, 'index.js'), "throw new Error('GPU ' + process.env.CUDA_VISIBLE_DEVICES + ' is asked for');");
  const asked = `import { tfjsNodeGpu } from 'steploom/plugins';
    for (const [localRank, visible] of [[0], [1], [0, '4,6'], [1, '4,6'], [1, '5']]) {
      if (visible) process.env.CUDA_VISIBLE_DEVICES = visible;
      else delete process.env.CUDA_VISIBLE_DEVICES;
      const device = tfjsNodeGpu();
      device.apply({ resolve: () => ({ localRank, localSize: 2 }) });
      await device.setUp().catch((error) => console.log(/GPU (\\S+) is asked for/.exec(error.message)[1]));
    }`;
  expect(run(process.execPath, ['--input-type=module', '-e', asked], folder).trim().split('\n')).toEqual(['0', '1', '4', '6', '5']);
  // Where only the package for GPUs is there, the processor is tried with it.
  await writeFile(join(fake, 'index.js'), `throw new Error('libcudart.so: cannot open shared object file');`);
  expect(devices('tfjs-node').why).toMatch(/tfjs-node-gpu is installed but does not load \(libcudart/);
});

test('core, plugins and presets bundle for browsers without a module of Node', async () => {
  const result = await build({
    stdin: { contents: "export * from 'steploom'; export * from 'steploom/plugins'; export * from 'steploom/presets';", resolveDir: root },
    bundle: true,
    write: false,
    platform: 'browser',
    conditions: ['browser'],
    format: 'esm',
    logLevel: 'silent',
    metafile: true,
    // An optional package that only Node needs; browsers have WebGPU of their own.
    external: ['webgpu'],
  });
  const inputs = Object.keys(result.metafile.inputs);
  for (const name of ['optimizers/adamw', 'devices/device', 'devices/wasm', 'devices/wasm/start.browser'])
    expect(inputs.some((path) => path.endsWith(`dist/plugins/${name}.js`))).toBe(true);
  expect(
    inputs.filter((path) =>
      /dist\/(plugins|presets).*(folder|tfjs-node|candidates|wasm\/start|wasm\/workers|image-folder|jsonl|cli)\.js$/.test(path),
    ),
  ).toEqual([]);
  const outside = Object.values(result.metafile.outputs).flatMap((output) => output.imports.filter((i) => i.external).map((i) => i.path));
  expect(outside.filter((path) => path !== 'webgpu')).toEqual([]);
});
