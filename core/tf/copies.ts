// Another copy of TensorFlow.js in one process: of another version, or one that a package manager has put there twice. They share an engine, and whichever
// is loaded later, maybe long after the start, warns of each of some hundred kernels that it is there already. Said here in one line.

const REPEATED =
  /^(The kernel '.*' for backend '.*' is already registered|\S+ backend was already registered\.|Platform \S+ has already been set\.)/;

/** Kernels that only a copy registers at once: whoever puts a few of his own in the place of others is warned of them. */
const MANY = 20;

let told = false;
let repeated: unknown[][] = [];

// A copy's warnings come within one turn, whenever it is imported: there is no moment after which none can come.
const { warn } = console;
console.warn = (...words: unknown[]): void => {
  if (!REPEATED.test(String(words[0]))) {
    warn.apply(console, words);
    return;
  }
  if (repeated.length === 0) setTimeout(judge);
  repeated.push(words);
  if (repeated.length < MANY || told) return;
  told = true;
  warn.call(
    console,
    'there is more than one copy of TensorFlow.js in this process, whose tensors and models may not go together: see npm ls @tensorflow/tfjs-core, and install one version',
  );
};

/** When the turn is over: says what was held back, if it was none of a copy's. */
function judge(): void {
  const those = repeated;
  repeated = [];
  if (those.length < MANY) for (const words of those) warn.apply(console, words);
}
