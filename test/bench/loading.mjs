// What the host holds while a model loads, beside the weights themselves: at most 512 MB, or it ends with 1. The model is one .safetensors file of a
// published model's shapes, whose weights are zeros; it is written first, below the folder for temporary files. Run after npm run build.
//   node test/bench/loading.mjs [sd1 | sd2 | sdxl | a folder in diffusers' layout] [device [f16]]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { seededRandom } from '../../dist/core/index.js';
import { device, folder } from '../../dist/plugins/index.js';
import { buildTextToImage } from '../../dist/plugins/models/stable-diffusion/build.js';
import { publishedConfigurations, readConfigurations } from '../../dist/plugins/models/stable-diffusion/configurations.js';
import { joinComponents } from '../../dist/plugins/models/stable-diffusion/join.js';
import { writeSingleFile } from '../../dist/plugins/models/stable-diffusion/write-single-file.js';
import { clipMerges } from '../../dist/presets/common/model-source.js';

const MOST = 512e6;
const [name = 'sd1', deviceName = 'cpu', kind, writeTo] = process.argv.slice(2);
const isPublished = ['sd1', 'sd2', 'sdxl'].includes(name);

/** Writes the file, in a process of its own: what that holds is not counted. */
async function write(into) {
  const said = isPublished ? publishedConfigurations(name, 'epsilon', clipMerges) : await readConfigurations(folder(name));
  const joined = joinComponents({
    where: name,
    family: said.family,
    unet: { config: said.unet },
    encoders: said.encoders.map((config) => ({ config, tokenizer: { size: 0 } })),
    vae: { config: said.vae },
    noise: said.noise,
  });
  const specs = new Map([...joined.networks.values()].flatMap((network) => network.specs.map((spec) => [spec.path, spec])));
  const zeros = (path) => {
    const { shape } = specs.get(path);
    return { shape, dtype: 'float32', data: async () => new Float32Array(shape.reduce((a, b) => a * b, 1)) };
  };
  const weights = new Proxy({}, { get: (_, path) => zeros(path) });
  await writeSingleFile(folder(into), 'model.safetensors', weights, joined, { half: kind === 'f16' });
}

async function load(from) {
  const report = await device(deviceName).setUp();
  const status = (row) => Number(new RegExp(`${row}:\\s*(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024;
  const start = status('VmRSS');
  const began = performance.now();
  const source = { files: folder(from), path: 'model.safetensors', merges: clipMerges };
  const model = await buildTextToImage(
    { from: isPublished ? source : { ...source, configurations: folder(name) }, train: 'nothing', predictionType: 'epsilon' },
    seededRandom(0),
  );
  const seconds = (performance.now() - began) / 1000;
  const weights = [...model.parameters.values()].reduce((sum, { variable }) => sum + variable.size * 4, 0);
  // On a processor the weights stay in the host's memory.
  const held = status('VmHWM') - start - (report.name === 'cpu' || report.name === 'wasm' ? weights : 0);
  const mb = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;
  const { size } = statSync(join(from, 'model.safetensors'));
  console.log(
    `${name} on ${report.name}: a file of ${mb(size)} in ${seconds.toFixed(1)} s; beside its weights of ${mb(weights)} the host held at most ${mb(held)} more than at the start (${mb(start)})`,
  );
  if (held > MOST) process.exitCode = 1;
}

if (writeTo) await write(writeTo);
else {
  const scratch = mkdtempSync(join(tmpdir(), 'steploom-loading-'));
  try {
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), name, deviceName, kind ?? 'f32', scratch], { stdio: 'inherit' });
    await load(scratch);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
