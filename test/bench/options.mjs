/** Splits a command's words into those that stand alone and options of a preset, as --option=value, in JSON. */
export function wordsAndOptions(given) {
  const options = {};
  const words = given.filter((word) => {
    const [, name, value] = /^--(\w+)=(.*)$/.exec(word) ?? [];
    if (name) options[name] = JSON.parse(value);
    return !name;
  });
  return { words, options };
}
