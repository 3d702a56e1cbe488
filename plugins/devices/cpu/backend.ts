import * as tf from '../../../core/tf.js';
import { registerOperations } from '../compute/contract.js';
import { Effects, keepCurrentBackend, type Undo } from '../compute/undo.js';
import { adamw8bit } from './adamw8bit.js';
import { CompiledPrograms } from './program.js';
import { summer } from './reduce.js';
import { updater } from './update.js';

/**
 * Makes TensorFlow.js's cpu backend the current one and readies it for training. Whatever it changes outside of steploom is listed here: which
 * backend is the current one. Operations are registered behind the compute contract. What it returns takes both back.
 */
export async function install(): Promise<Undo> {
  const effects = new Effects();
  effects.add(keepCurrentBackend());
  await tf.setBackend('cpu');
  await tf.ready();
  const programs = new CompiledPrograms();
  effects.add(registerOperations(tf.backend(), { adamw8bit, update: updater(programs), sum: summer(programs) }));
  return effects.undo;
}
