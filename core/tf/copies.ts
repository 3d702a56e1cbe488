// Another copy of TensorFlow.js in one process: of another version, or one that a package manager has put there twice. They share an engine, and whichever
// is loaded later warns of each of some hundred kernels that it is there already. Said here in one line.

const REPEATED =
  /^(The kernel '.*' for backend '.*' is already registered|\S+ backend was already registered\.|Platform \S+ has already been set\.)/;

let told = false;

/** Catches these warnings from now on, while a module is loaded that may bring a copy. What it returns ends that, and says so where there were some. */
export function catchCopies(): () => void {
  const { warn } = console;
  let [catches, found] = [true, false];
  const caught = (...words: unknown[]): void => {
    if (catches && REPEATED.test(String(words[0]))) found = true;
    else warn.apply(console, words);
  };
  console.warn = caught;
  return () => {
    catches = false;
    if (console.warn === caught) console.warn = warn;
    if (!found || told) return;
    told = true;
    console.warn(
      'there is more than one copy of TensorFlow.js in this process, whose tensors and models may not go together: see npm ls @tensorflow/tfjs-core, and install one version',
    );
  };
}

// Whatever is imported together with this is loaded before a timer fires.
setTimeout(catchCopies());
