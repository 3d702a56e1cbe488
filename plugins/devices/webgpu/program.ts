import { type Program, record } from '../compute/program.js';

/** Four numbers at a time where every array's length allows it: wide loads are what fills the memory's bandwidth. */
export const isWide = (sizes: readonly number[]): boolean => sizes.every((size) => size % 4 === 0);

/** The statements that compute a program, given how an element of an array is read, and the expressions of its results. */
export function statements(
  program: Program,
  element: (array: string) => string,
  wide: boolean,
): { lines: string[]; results: { name: string; value: string }[] } {
  const { nodes, results } = record(program);
  const lines: string[] = [];
  const same = (scalar: string) => (wide ? `vec4f(${scalar})` : scalar);
  const spell = (value: number) => same(`${Number.isInteger(value) ? value : Math.fround(value)}f`);
  const names = nodes.map((node, i) => {
    const name = `t${i}`;
    const [a, b] = [(node as { a: number }).a, (node as { b: number }).b].map((at) => `t${at}`);
    const infix = { add: '+', sub: '-', mul: '*', div: '/' };
    const value =
      node.op === 'array'
        ? element(node.name)
        : node.op === 'factor'
          ? same(`factors[${program.factors.indexOf(node.name)}]`)
          : node.op === 'constant'
            ? spell(node.value)
            : node.op in infix
              ? `${a} ${infix[node.op as keyof typeof infix]} ${b}`
              : node.op === 'min' || node.op === 'max'
                ? `${node.op}(${a}, ${b})`
                : `${node.op}(${a})`;
    lines.push(`let ${name} = ${value};`);
    return name;
  });
  return { lines, results: results.map(({ name, node }) => ({ name, value: names[node] })) };
}

/** Bindings: factors (where there are some), then the arrays of each group; written ones are read_write. */
export function bindings(program: Program, groups: number, first: readonly string[], wide: boolean): string {
  const lines = first.map((text, i) => `@group(0) @binding(${i}) ${text}`);
  for (let k = 0; k < groups; k++)
    for (const name of program.arrays) {
      const access = program.writes.includes(name) ? 'read_write' : 'read';
      lines.push(`@group(0) @binding(${lines.length}) var<storage, ${access}> ${name}${k}: array<${wide ? 'vec4f' : 'f32'}>;`);
    }
  return lines.join('\n');
}
