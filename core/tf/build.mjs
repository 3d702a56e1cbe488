// Makes ../tf/registered.ts: the gradients of TensorFlow.js's operations and the methods of its tensors (`a.add(b)`). Of its packages only the
// whole, @tensorflow/tfjs, has them where Node loads it: tfjs-core keeps them in modules beside its entry that Node cannot import. They are bundled
// here; whatever the entry exports they take from there, so that nothing of the engine is there twice. npm run generate calls this.
import { readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const CORE = '@tensorflow/tfjs-core';
const dist = dirname(fileURLToPath(import.meta.resolve(`${CORE}/dist/index.js`)));

/** Modules of which the entry exports everything. */
const exported = new Set(['base', 'index'].map((name) => join(dist, name)));
for (const list of ['base', 'ops/ops'])
  for (const [, path] of (await readFile(join(dist, `${list}.js`), 'utf8')).matchAll(/^export (?:\{.*\}|\*) from '(.+)'/gm))
    exported.add(join(dist, list, '..', path));
// But for these, of which it exports a part.
for (const name of ['tensor', 'types']) exported.delete(join(dist, name));

const { outputFiles } = await build({
  stdin: {
    contents: `import '${CORE}/dist/register_all_gradients.js'; import '${CORE}/dist/public/chained_ops/register_all_chained_ops.js';`,
    resolveDir: dist,
  },
  bundle: true,
  write: false,
  format: 'esm',
  target: 'es2022',
  minify: true,
  legalComments: 'none',
  plugins: [
    {
      name: 'the entry',
      setup({ onResolve, onLoad }) {
        onResolve({ filter: /^\./ }, ({ path, resolveDir }) =>
          exported.has(join(resolveDir, path)) ? { path: CORE, external: true } : undefined,
        );
        onLoad({ filter: /dist.engine\.js$/ }, () => ({ contents: `import { engine } from '${CORE}'; export const ENGINE = engine();` }));
        onResolve({ filter: new RegExp(`^${CORE}$`) }, ({ path }) => ({ path, external: true }));
      },
    },
  ],
});

const { version } = JSON.parse(await readFile(join(dist, '..', 'package.json'), 'utf8'));
await writeFile(
  fileURLToPath(new URL('registered.ts', import.meta.url)),
  `// @ts-nocheck Made by core/tf/build.mjs out of ${CORE} ${version}.\n/** @license Copyright Google LLC, licensed under the Apache License 2.0. */\n${outputFiles[0].text}`,
);
