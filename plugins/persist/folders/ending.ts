import { type Host, messageOf } from '../../../core/index.js';
import type { Ending } from '../formats/run-file.js';

/** Sees how the run ends, for a plugin that taps neither onEnd nor onError itself. Returns what tells it: null while the run goes on. */
export function watchEnding({ hooks, stopAsked }: Host): () => Ending | null {
  let ending: Ending | null = null;
  hooks.onEnd.tap(({ stopped }) => {
    // Early stopping, which is no plugin's asking, has come to its end.
    ending = { outcome: stopped && stopAsked() ? 'stopped' : 'done' };
  });
  hooks.onError.tap((error) => {
    ending = { outcome: 'failed', error: messageOf(error).split('\n', 1)[0] };
  });
  return () => ending;
}
