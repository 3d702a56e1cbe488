import { describe, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../../../plugins/persist/formats/safetensors.js';

describe('safetensors', () => {
  const tensors = {
    b: { dtype: 'float32' as const, shape: [2, 2], data: new Float32Array([1, -2, 0.5, 1 / 3]) },
    a: { dtype: 'uint8' as const, shape: [3], data: new Uint8Array([1, 2, 255]) },
    c: { dtype: 'int32' as const, shape: [1], data: new Int32Array([-7]) },
  };
  test('a finite number that float16 cannot hold is refused, with its tensor', () => {
    const write = (value: number) =>
      writeSafetensors({ w: { dtype: 'float32', shape: [1], data: Float32Array.of(value) } }, { half: true });
    // Rounded to the largest float16, and up to infinity.
    expect(readSafetensors(write(65519)).tensors.get('w')?.data).toEqual(Float32Array.of(65504));
    expect(() => write(65520)).toThrow(/FLOAT16_OVERFLOW.*w holds 65520/);
    expect(() => write(-1e30)).toThrow('FLOAT16_OVERFLOW');
  });

  test('what is written is read', () => {
    const { tensors: back, metadata } = readSafetensors(writeSafetensors(tensors, { metadata: { format: 'pt', x: 'é' } }));
    expect(Object.fromEntries(back)).toEqual(tensors);
    expect(metadata).toEqual({ format: 'pt', x: 'é' });
    expect(readSafetensors(writeSafetensors(tensors, { half: true })).tensors.get('b')?.data[3]).toBeCloseTo(1 / 3, 3);
  });
  test('a Buffer within a larger one is read alike', () => {
    const bytes = writeSafetensors(tensors);
    const large = Buffer.alloc(bytes.length + 13);
    large.set(bytes, 13);
    expect(Object.fromEntries(readSafetensors(large.subarray(13)).tensors)).toEqual(tensors);
  });
  test.each([
    ['cut short', (b: Uint8Array) => b.subarray(0, b.length - 1), /spans bytes|belong to no tensor/],
    ['five bytes', (b: Uint8Array) => b.subarray(0, 5), /5 bytes are too few/],
    ['a header that is too long', (b: Uint8Array) => Uint8Array.from(b, (x, i) => (i === 4 ? 255 : x)), /its header claims/],
    ['a header that is no JSON', (b: Uint8Array) => Uint8Array.from(b, (x, i) => (i === 8 ? 33 : x)), /not JSON/],
  ])('%s is an error that names the file', (_, broken, message) => {
    expect(() => readSafetensors(broken(writeSafetensors(tensors)), 'x.safetensors')).toThrow(message);
    expect(() => readSafetensors(broken(writeSafetensors(tensors)), 'x.safetensors')).toThrow(/BAD_SAFETENSORS.*x\.safetensors/);
  });
  test('overlapping tensors are refused', () => {
    const header = JSON.stringify({
      a: { dtype: 'U8', shape: [4], data_offsets: [0, 4] },
      b: { dtype: 'U8', shape: [4], data_offsets: [2, 6] },
    });
    const bytes = new Uint8Array(8 + header.length + 6);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
    bytes.set(new TextEncoder().encode(header), 8);
    expect(() => readSafetensors(bytes)).toThrow(/overlap or leave a gap/);
  });
});
