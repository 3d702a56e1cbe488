#!/usr/bin/env node
import './node-version.js';

// Loaded after that, and not beside it: Node links all that is imported by name before it runs any of it, and an older one would end there, with an
// error about a name or a word of the language that it does not know.
await import('./launched.js');
const { commandLine } = await import('./command-line.js');
const { ignoreClosedStreams } = await import('./signals.js');

ignoreClosedStreams();
await commandLine(process.argv.slice(2));
// Threads of devices would keep the process alive.
process.stdout.write('', () => process.exit());
