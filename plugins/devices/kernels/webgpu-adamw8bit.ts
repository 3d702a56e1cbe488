/**
 * One step of 8-bit AdamW as a shader: a workgroup of 64 threads for a block of 256 elements, four to a thread, whose codes
 * are one word. The code maps' values and places are computed, as looking them up would cost more than the memory does.
 */
export function adamw8bitCode(o: {
  size: number;
  blocks: number;
  /** Blocks along the dispatch's first dimension. */
  rowOfBlocks: number;
  beta1: number;
  beta2: number;
  epsilon: number;
  bound: number;
}): string {
  /** Half-way between the last value of the decade below and the first of this one, which has n cells. */
  const edge = (i: number, n: number) => 0.5 * ((1 - 0.9 / n) * 10 ** (i - 7) + (0.1 + 0.45 / n) * 10 ** (i - 6));
  const f = (x: number) => `${Math.fround(x)}f`;
  /** The decade of a: how far down it is as a power of ten, and as cells. */
  const decade = (first: number) =>
    [1, 2, 3, 4, 5, 6]
      .map((i) => {
        const n = first * 2 ** i;
        return `  if (a >= ${f(edge(i, n))}) { scale = ${f((n * 10 ** (6 - i)) / 0.9)}; cells = ${f(n)}; }`;
      })
      .join('\n');
  const mix = (x: string, old: string, keep: number) => `${old} * ${f(keep)} + ${x} * ${f(1 - keep)}`;
  const direction = (mean: string, square: string, same: (x: string) => string) =>
    `clamp(${mean} * factors[4] / (sqrt(${square} * factors[5]) + ${f(o.epsilon)}), ${same(f(-o.bound))}, ${same(f(o.bound))})`;
  const wide = o.size % 4 === 0;
  const number = wide ? 'vec4f' : 'f32';
  const oneByOne = `    for (var j = 0u; j < 4u; j++) {
      let i = start + j;
      if (i >= ${o.size}u) { break; }
      let x = g[i] * factors[2];
      let mean = ${mix('x', 'fromSigned(extractBits(codesM, 8u * j, 8u)) * topM', o.beta1)};
      let square = ${mix('x * x', 'fromUnsigned(extractBits(codesV, 8u * j, 8u)) * topV', o.beta2)};
      means[j] = mean;
      squares[j] = square;
      p[i] -= factors[0] * (${direction('mean', 'square', (x) => x)} + factors[1] * p[i]);
    }`;
  const each = (name: string, codes: string) =>
    `vec4f(${[0, 8, 16, 24].map((at) => `${name}(extractBits(${codes}, ${at}u, 8u))`).join(', ')})`;
  const fourAtOnce = `    let x = g[word] * factors[2];
    let weight = p[word];
    means = ${mix('x', `${each('fromSigned', 'codesM')} * topM`, o.beta1)};
    squares = ${mix('x * x', `${each('fromUnsigned', 'codesV')} * topV`, o.beta2)};
    p[word] = weight - factors[0] * (${direction('means', 'squares', (x) => `vec4f(${x})`)} + factors[1] * weight);`;
  return `@group(0) @binding(0) var<storage, read> factors: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<${number}>;
@group(0) @binding(2) var<storage, read_write> p: array<${number}>;
@group(0) @binding(3) var<storage, read_write> m: array<u32>;
@group(0) @binding(4) var<storage, read_write> v: array<u32>;
@group(0) @binding(5) var<storage, read_write> absmax: array<f32>;
var<workgroup> tops: array<vec2f, 64>;

// The k-th positive value (from 1) of a map whose lowest decade has c cells.
fn value(k: u32, c: u32) -> f32 {
  let n = k + c - 1u;
  let e = firstLeadingBit(n);
  let cells = f32(1u << e);
  var ten = 1e-6f;
  let i = select(e, e - 1u, c == 2u);
  if (i == 1u) { ten = 1e-5f; } else if (i == 2u) { ten = 1e-4f; } else if (i == 3u) { ten = 1e-3f; }
  else if (i == 4u) { ten = 1e-2f; } else if (i == 5u) { ten = 1e-1f; } else if (i == 6u) { ten = 1f; }
  return (0.1f + 0.9f * ((f32(n) + 0.5f) / cells - 1f)) * ten;
}
fn place(a: f32, scale: f32, cells: f32) -> f32 { return clamp(floor(a * scale + cells * ${f(8 / 9)}), cells, 2f * cells - 1f); }
fn signedPlace(a: f32) -> f32 {
  var scale = ${f(1e6 / 0.9)}; var cells = 1f;
${decade(1)}
  return place(a, scale, cells);
}
fn unsignedPlace(a: f32) -> f32 {
  var scale = ${f(2e6 / 0.9)}; var cells = 2f;
${decade(2)}
  return place(a, scale, cells) - 1f;
}
fn fromSigned(code: u32) -> f32 {
  if (code == 127u) { return 0f; }
  if (code == 255u) { return 1f; }
  if (code < 127u) { return -value(127u - code, 1u); }
  return value(code - 127u, 1u);
}
fn fromUnsigned(code: u32) -> f32 {
  if (code == 0u) { return 0f; }
  if (code == 255u) { return 1f; }
  return value(code, 2u);
}
fn toSigned(x: f32) -> u32 {
  let a = abs(x);
  var k = signedPlace(a);
  if (a < 2.75e-7f) { k = 0f; }
  if (a > 0.99648437f) { k = 128f; }
  return u32(select(127f + k, 127f - clamp(k, 1f, 127f), x < 0f));
}
fn toUnsigned(x: f32) -> u32 {
  var k = unsignedPlace(x);
  if (x < 1.625e-7f) { k = 0f; }
  if (x > 0.9982422f) { k = 255f; }
  return u32(k);
}

@compute @workgroup_size(64) fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
  let block = group.x + group.y * ${o.rowOfBlocks}u;
  if (block >= ${o.blocks}u || factors[3] == 0f) { return; }
  let word = block * 64u + local;
  let start = word * 4u;
  let inside = start < ${o.size}u;
  var means = vec4f(0f);
  var squares = vec4f(0f);
  if (inside) {
    let topM = absmax[block];
    let topV = absmax[${o.blocks}u + block];
    let codesM = m[word];
    let codesV = v[word];
${wide ? fourAtOnce : oneByOne}
  }
  let a = abs(means);
  tops[local] = vec2f(max(max(a.x, a.y), max(a.z, a.w)), max(max(squares.x, squares.y), max(squares.z, squares.w)));
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (local < width) { tops[local] = max(tops[local], tops[local + width]); }
    workgroupBarrier();
  }
  let largest = select(tops[0], vec2f(1f), tops[0] == vec2f(0f));
  if (local == 0u) {
    absmax[block] = largest.x;
    absmax[${o.blocks}u + block] = largest.y;
  }
  if (inside) {
    var codesM = 0u;
    var codesV = 0u;
    for (var j = 0u; j < 4u; j++) {
      codesM |= toSigned(means[j] / largest.x) << (8u * j);
      codesV |= toUnsigned(squares[j] / largest.y) << (8u * j);
    }
    m[word] = codesM;
    v[word] = codesV;
  }
}`;
}
