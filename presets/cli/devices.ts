import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { z } from 'zod';
import { DEVICES, type DeviceName, isSoftware, tryDevice } from '#candidates';
import type { DeviceReport } from '../../core/index.js';
import { measure, type Speed } from '../../plugins/devices/compute/measure.js';
import { addOptions, optionsOf } from './options.js';

const devicesOptions = z.strictObject({
  only: z.enum(DEVICES).optional().describe('Look at one device, in this process.'),
  json: z.boolean().default(false).describe('Print a line of JSON for each.'),
});

/** `steploom devices`. */
export function addDevices(program: Command): void {
  const command = program
    .command('devices')
    .description('Show which devices work here, how fast they are, and what would make others work.');
  addOptions(command, devicesOptions).action(async () => {
    const { only, json } = optionsOf(command, devicesOptions);
    const lines = only ? [await lookAt(only)] : await lookAtAll();
    if (json) for (const line of lines) console.log(JSON.stringify(line));
    else console.log(describe(lines));
  });
}

/** One line of `steploom devices`. */
type DeviceLine =
  | { readonly name: DeviceName; readonly works: true; readonly report: DeviceReport; readonly rates: Speed }
  | { readonly name: DeviceName; readonly works: false; readonly why: string; readonly fix: string };

/** Starts a device in this process and measures it. */
async function lookAt(name: DeviceName): Promise<DeviceLine> {
  const found = await tryDevice(name);
  if ('why' in found) return { name, works: false, why: found.what, fix: found.fix };
  return { name, works: true, report: found.report, rates: await measure() };
}

/** Every device, each in another process: one that crashes takes nothing with it, and two TensorFlows do not meet. */
async function lookAtAll(): Promise<DeviceLine[]> {
  const cli = fileURLToPath(new URL('./main.js', import.meta.url));
  const lines: DeviceLine[] = [];
  for (const name of DEVICES) {
    try {
      const { stdout } = await promisify(execFile)(process.execPath, [cli, 'devices', '--only', name, '--json'], { timeout: 120_000 });
      lines.push(JSON.parse(stdout.trim().split('\n').at(-1) as string) as DeviceLine);
    } catch (error) {
      const { signal, message } = error as { signal?: string; message: string };
      const why = signal ? `its process ended by ${signal}` : `its process failed: ${message.split('\n')[0]}`;
      lines.push({ name, works: false, why, fix: `Run steploom devices --only ${name} and read its messages` });
    }
  }
  return lines;
}

const rate = (gflops: number): string => (gflops >= 1000 ? `${(gflops / 1000).toFixed(1)} TFLOP/s` : `${gflops.toPrecision(3)} GFLOP/s`);

/** The lines for reading, with what would get a better device than the best that works. */
function describe(lines: readonly DeviceLine[]): string {
  const text: string[] = [];
  for (const line of lines) {
    if (!line.works) {
      text.push(`${line.name.padEnd(15)}does not work: ${line.why}`);
      continue;
    }
    const { report, rates } = line;
    text.push(
      `${line.name.padEnd(15)}works: ${report.detail}${report.memory ? `, ${report.memory}` : ''}`,
      `${''.padEnd(15)}matrix product ${rate(rates.matMul)} (${rates.matMulSide} x ${rates.matMulSide}), ` +
        `convolution ${rate(rates.convolution)} (batch ${rates.convolutionBatch})`,
    );
  }
  const best = lines.findIndex((line) => line.works && !isSoftware(line.report));
  text.push('', best < 0 ? 'No device works.' : `Without --device a run takes ${lines[best].name}.`);
  const better = lines.slice(0, best < 0 ? lines.length : best).flatMap((line) => (line.works ? [] : [`  ${line.name}: ${line.fix}`]));
  if (better.length > 0) text.push('To get a better one:', ...better);
  return text.join('\n');
}
