import { extname } from 'node:path';

const READ = new Set(['.png', '.jpg', '.jpeg', '.jpe', '.jfif', '.webp', '.bmp', '.gif', '.tif', '.tiff', '.avif']);
/** Pictures too, and not read: they are named, not passed over in silence. */
const OTHERS = new Set(['.heic', '.heif', '.jxl', '.svg']);

/** What may stand beside an image with its caption, the first that is there: as imagefolder has it, and as kohya's scripts. */
export const TEXTS: readonly string[] = ['.txt', '.caption'];

/** What is read, for messages. */
export const KINDS = '.png, .jpg, .webp, .bmp, .gif, .tiff or .avif';

const isOf = (kinds: ReadonlySet<string>, name: string): boolean => kinds.has(extname(name).toLowerCase());
export const isImage = (name: string): boolean => isOf(READ, name);
export const isOtherImage = (name: string): boolean => isOf(OTHERS, name);
