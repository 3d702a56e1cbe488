// node tokenizer.mjs FOLDER: how many of the texts in FOLDER/cases.json steploom's tokenizer gives other ids; run by tokenizer.py.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadTokenizer } from '../../dist/plugins/models/clip/load-tokenizer.js';
import { folder } from '../../dist/plugins/persist/formats/folder.js';

const [, , where] = process.argv;
const tokenizer = await loadTokenizer(folder(where));
const cases = JSON.parse(await readFile(join(where, 'cases.json'), 'utf8'));
const wrong = cases.filter(([text, ids]) => String([...tokenizer.encode(text)]) !== String(ids));
console.log(`${wrong.length} of ${cases.length} differ`);
for (const [text, ids] of wrong.slice(0, 10)) console.log(JSON.stringify(text), String(ids), String([...tokenizer.encode(text)]));
