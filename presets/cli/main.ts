#!/usr/bin/env node
import './node-version.js';
import './launched.js';

import { commandLine } from './command-line.js';
import { ignoreClosedStreams } from './signals.js';

ignoreClosedStreams();
await commandLine(process.argv.slice(2));
// Threads of devices would keep the process alive.
process.stdout.write('', () => process.exit());
