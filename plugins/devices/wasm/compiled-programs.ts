import type { Program } from '../compute/program.js';
import { compile, type RunProgram } from './program.js';

/** A program's function in the backend's memory, and its module for the threads. */
export interface CompiledProgram {
  readonly module: WebAssembly.Module;
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
      const module = new WebAssembly.Module(compile(program, this.shared) as BufferSource);
      const instance = new WebAssembly.Instance(module, { env: { memory: this.memory } });
      found = { module, run: instance.exports.run as RunProgram };
      this.known.set(program.name, found);
    }
    return found;
  }
}
