/** A sum over the 256 threads of a group, for everybody. `scratch` is used up to the next barrier. */
export const GROUP_SUM = `var<workgroup> scratch: array<f32, 256>;
fn groupSum(value: f32, local: u32) -> f32 {
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 128u; width > 0u; width /= 2u) {
    if (local < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  return scratch[0];
}`;

/** A row to 64 threads; their sums meet in shared memory. */
export const ROW_SUM = `var<workgroup> scratch: array<f32, 256>;
fn rowSum(value: f32, local: u32) -> f32 {
  let lane = local % 64u;
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[local] += scratch[local + width]; }
    workgroupBarrier();
  }
  return scratch[local - lane];
}
fn rowMax(value: f32, local: u32) -> f32 {
  let lane = local % 64u;
  workgroupBarrier();
  scratch[local] = value;
  workgroupBarrier();
  for (var width = 32u; width > 0u; width /= 2u) {
    if (lane < width) { scratch[local] = max(scratch[local], scratch[local + width]); }
    workgroupBarrier();
  }
  return scratch[local - lane];
}`;

/**
 * Rows of `columns` vectors, four rows a group of threads. `head` says which row a thread has, where it begins and whether the thread is `live`:
 * those past the last row still meet the barriers.
 */
export function rowwise(rows: number, columns: number) {
  const workgroups = Math.ceil(rows / 4);
  const across = Math.min(workgroups, 32768);
  return {
    sizes: { rows, columns, across },
    groups: [across, Math.ceil(workgroups / across)] as [number, number],
    head: `let wanted = (group.y * across + group.x) * 4u + local / 64u;
  let live = wanted < rows;
  let row = min(wanted, rows - 1u);
  let lane = local % 64u;
  let start = row * columns;`,
  };
}

/** Pixels that a thread of a {@link tiled} pass adds up, at least, before there are more groups of threads. */
const PIXELS = 4;

/**
 * Passes down the columns of [n, pixels, c], by 16 columns of vectors and 16 pixels at a time. A long axis of pixels is cut into slices of `depth`,
 * a group of threads each. `head` gives a thread its column `at` and its `example`, and `start`, where that begins; it is `live` where it has a column.
 * `loop` runs a body for each of its pixels with the place `i` of its vector.
 */
export function tiled(n: number, pixels: number, columns: number) {
  const depth = Math.max(16 * PIXELS, 16 * Math.ceil(pixels / 64 / 16));
  const slices = Math.max(1, Math.ceil(pixels / depth));
  return {
    slices,
    depth,
    sizes: { pixels, columns, depth, slices },
    groups: [Math.ceil(columns / 16), slices, n] as [number, number, number],
    head: `let column = group.x * 16u + local % 16u;
  let live = column < columns;
  let at = min(column, columns - 1u);
  let example = group.z;
  let start = example * pixels * columns + at;
  let first = group.y * depth;
  let end = min(first + depth, pixels);
  let sliceRow = example * slices + group.y;`,
    loop: (body: string): string => `if (live) {
    for (var p = first + local / 16u; p < end; p += 16u) {
      let i = start + p * columns;
      ${body}
    }
  }`,
  };
}

/** The sums of a vector down the 16 rows of a {@link tiled} group of threads, for the first 16 of them. */
export const TILE_SUM = `var<workgroup> sums: array<V, 256>;
fn tileSum(value: V, local: u32) -> V {
  workgroupBarrier();
  sums[local] = value;
  workgroupBarrier();
  for (var width = 128u; width >= 16u; width /= 2u) {
    if (local < width) { sums[local] += sums[local + width]; }
    workgroupBarrier();
  }
  return sums[local % 16u];
}`;
