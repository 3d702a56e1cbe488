import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** How users resolve modules: a bundler's way, or Node's. */
export const RESOLUTIONS = {
  bundler: { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
  nodenext: { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
} as const;

export interface TypeCheck {
  readonly resolution: keyof typeof RESOLUTIONS;
  /** Types of a browser's author: the package's part for browsers, and nothing of Node. */
  readonly browser?: boolean;
}

/** Files of libraries, and the package's declarations, as they were read for an earlier check of the same resolution. */
const read = new Map<string, ts.SourceFile | undefined>();

/**
 * Checks files under the strictest settings that users have, declarations of libraries included and those of Node left out, and gives the errors.
 * TypeScript's own declarations are not looked at, nor are TensorFlow.js's: 4.22's do not compile with skipLibCheck: false, whoever imports them.
 */
export function typeErrors(files: readonly string[], { resolution, browser = false }: TypeCheck): string[] {
  const options: ts.CompilerOptions = {
    target: ts.ScriptTarget.ES2022,
    ...RESOLUTIONS[resolution],
    lib: ['lib.es2023.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'],
    types: [],
    ...(browser ? { customConditions: ['browser'] } : {}),
    experimentalDecorators: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  };
  const host = ts.createCompilerHost(options);
  host.getCurrentDirectory = () => root;
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...more) => {
    if (!name.endsWith('.d.ts')) return getSourceFile(name, ...more);
    const key = `${resolution}:${name}`;
    if (!read.has(key)) read.set(key, getSourceFile(name, ...more));
    return read.get(key);
  };
  const program = ts.createProgram([...files], options, host);
  const looked = program
    .getSourceFiles()
    .filter((file) => !program.isSourceFileDefaultLibrary(file) && !file.fileName.includes('/node_modules/@tensorflow/'));
  const found = [
    ...program.getOptionsDiagnostics(),
    ...looked.flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]),
    ...program.getGlobalDiagnostics(),
  ];
  return ts.sortAndDeduplicateDiagnostics(found).map((one) => ts.formatDiagnostic(one, host).trim());
}
