// TensorBoard's event files: records of TensorFlow (length, checksum, bytes, checksum), each a protocol buffer of type Event
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto). No package writes them.

/** One value of a summary. */
export type SummaryValue =
  | { readonly tag: string; readonly scalar: number }
  | { readonly tag: string; readonly png: Uint8Array; readonly width: number; readonly height: number }
  | { readonly tag: string; readonly text: string };

/** What an event holds beside its time and step. */
export type EventContent =
  | { readonly fileVersion: string }
  | { readonly values: readonly SummaryValue[] }
  | { readonly sessionStart: true };

const encoder = new TextEncoder();

/** A protocol buffer that is being written. */
class Message {
  private readonly chunks: Uint8Array[] = [];

  private varint(value: number): this {
    const bytes: number[] = [];
    let rest = value;
    while (rest > 127) {
      bytes.push((rest % 128) + 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
    this.chunks.push(Uint8Array.from(bytes));
    return this;
  }

  integer(field: number, value: number): this {
    return this.varint(field * 8).varint(value);
  }

  double(field: number, value: number): this {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setFloat64(0, value, true);
    this.varint(field * 8 + 1).chunks.push(bytes);
    return this;
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.varint(field * 8 + 5).chunks.push(bytes);
    return this;
  }

  bytes(field: number, value: Uint8Array | string | Message): this {
    const content = typeof value === 'string' ? encoder.encode(value) : value instanceof Message ? value.finish() : value;
    this.varint(field * 8 + 2)
      .varint(content.length)
      .chunks.push(content);
    return this;
  }

  finish(): Uint8Array {
    const out = new Uint8Array(this.chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let at = 0;
    for (const chunk of this.chunks) {
      out.set(chunk, at);
      at += chunk.length;
    }
    return out;
  }
}

const DT_STRING = 7;
const RGB = 3;

function valueMessage(value: SummaryValue): Message {
  const message = new Message().bytes(1, value.tag);
  if ('scalar' in value) return message.float(2, value.scalar);
  if ('png' in value)
    return message.bytes(4, new Message().integer(1, value.height).integer(2, value.width).integer(3, RGB).bytes(4, value.png));
  const metadata = new Message().bytes(1, new Message().bytes(1, 'text'));
  // A tensor of one string: no dimensions.
  return message.bytes(8, new Message().integer(1, DT_STRING).bytes(2, new Message()).bytes(8, value.text)).bytes(9, metadata);
}

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0x82f63b78 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** CRC-32C (Castagnoli), turned and moved as TensorFlow's records have it. */
function maskedChecksum(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) c = TABLE[(c ^ byte) & 0xff] ^ (c >>> 8);
  c = (c ^ 0xffffffff) >>> 0;
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
}

/** An event as a record. `seconds` since 1970. */
export function eventRecord(seconds: number, step: number, content: EventContent): Uint8Array {
  const event = new Message().double(1, seconds).integer(2, step);
  if ('fileVersion' in content) event.bytes(3, content.fileVersion);
  else if ('sessionStart' in content) event.bytes(7, new Message().integer(1, 1));
  else
    event.bytes(
      5,
      content.values.reduce((summary, value) => summary.bytes(1, valueMessage(value)), new Message()),
    );
  const data = event.finish();
  const record = new Uint8Array(data.length + 16);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedChecksum(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedChecksum(data), true);
  return record;
}
