import { fail } from '../../../core/index.js';

export const ROOM = 8192;

/** In a browser there are none. */
export class Workers {
  constructor() {
    fail('DEVICE_UNAVAILABLE', 'wasm', 'it has one thread in a browser', 'Give threads: 1, or leave it out.');
  }
}
