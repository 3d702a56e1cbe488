import type { Program } from '../compute/program.js';
import { compile, type RunProgram } from './program.js';

/** A program's function in the backend's memory, and its module for the threads. */
export interface CompiledProgram {
  readonly bytes: Uint8Array;
  readonly run: RunProgram;
  /** Its number among the threads' kernels, once they have it. */
  shared?: number;
}

/** Programs, each compiled once. */
export class CompiledPrograms {
  private readonly known = new Map<string, CompiledProgram>();

  constructor(
    private readonly memory: WebAssembly.Memory,
    private readonly shared: boolean,
  ) {}

  get(program: Program): CompiledProgram {
    let found = this.known.get(program.name);
    if (!found) {
      const bytes = compile(program, this.shared);
      const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes as BufferSource), { env: { memory: this.memory } });
      found = { bytes, run: instance.exports.run as RunProgram };
      this.known.set(program.name, found);
    }
    return found;
  }
}
