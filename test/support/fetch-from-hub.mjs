// Reads a file of a repository of the hub, for tests of processes that share a cache: the environment says where both are.
//   npm run build && node test/support/fetch-from-hub.mjs owner/name path
// Says when it is about to fetch the file, and at the end the SHA-256 of what it read.
import { createHash } from 'node:crypto';
import { hub } from '../../dist/plugins/persist/formats/hub.js';

const [name, path] = process.argv.slice(2);
const content = await hub(name, { note: (what) => console.log(what) }).read(path);
console.log(createHash('sha256').update(content).digest('hex'));
