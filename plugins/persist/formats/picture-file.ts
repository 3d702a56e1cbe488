import { extname } from 'node:path';
import type { Sharp } from 'sharp';
import { fail } from '../../../core/index.js';
import { withText } from './png-text.js';

/** Kinds of picture files that are written, by the ends of their names. */
const KINDS: Readonly<Record<string, 'png' | 'jpeg' | 'webp'>> = { '.png': 'png', '.jpg': 'jpeg', '.jpeg': 'jpeg', '.webp': 'webp' };

/** The kind of file that a name stands for. OPTION_INVALID for other ends than .png, .jpg, .jpeg and .webp. */
export function kindOfPicture(path: string): 'png' | 'jpeg' | 'webp' {
  const kind = KINDS[extname(path).toLowerCase()];
  return (
    kind ??
    fail(
      'OPTION_INVALID',
      'output',
      `${path} is no name of a picture that can be written`,
      `Give one that ends in ${Object.keys(KINDS).join(', ')}.`,
    )
  );
}

/** The longest text in EXIF: a segment of JPEG has less than 64 KiB. */
const LONGEST = 30_000;

/**
 * A text in EXIF's UserComment, as UTF-16. libvips writes it as ASCII, with other letters lost: it is given as many bytes of that, and they are put in their place.
 */
async function withUserComment(image: Sharp, kind: 'jpeg' | 'webp', text: string): Promise<Buffer> {
  const comment = Buffer.from(text.slice(0, LONGEST), 'utf16le').swap16();
  const placeholder = 'x'.repeat(comment.length);
  const bytes = await image
    .withExif({ IFD2: { UserComment: placeholder } })
    [kind]({ quality: 92 })
    .toBuffer();
  const at = bytes.indexOf(`ASCII\0\0\0${placeholder}`, 0, 'latin1');
  bytes.write('UNICODE\0', at, 'latin1');
  comment.copy(bytes, at + 8);
  return bytes;
}

/**
 * A picture as a file of the kind that its name says. `parameters`, a text about how it was made, stands in it where AUTOMATIC1111's web UI puts and looks for
 * it: in a text chunk of that name in PNG, else in EXIF's UserComment. Needs Node.
 */
export async function pictureFile(image: Sharp, path: string, parameters?: string): Promise<Uint8Array> {
  const kind = kindOfPicture(path);
  if (kind !== 'png') return parameters === undefined ? image[kind]({ quality: 92 }).toBuffer() : withUserComment(image, kind, parameters);
  const png = await image.png().toBuffer();
  return parameters === undefined ? png : withText(png, 'parameters', parameters);
}
