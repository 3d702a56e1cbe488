import type { Files } from '../../plugins/persist/formats/files.js';

/** Files in which JSON files have other entries. */
export const changed = (files: Files, changes: Readonly<Record<string, object>>): Files => ({
  ...files,
  async read(path) {
    const bytes = await files.read(path);
    if (!bytes || !Object.hasOwn(changes, path)) return bytes;
    return new TextEncoder().encode(JSON.stringify({ ...JSON.parse(new TextDecoder().decode(bytes)), ...changes[path] }));
  },
});
