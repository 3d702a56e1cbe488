// Imported first: a Node that is too old would train, and fail where it saves.

/** The oldest Node there is a promise for; package.json says the same. */
const OLDEST = 20;

if (Number(process.versions.node.split('.')[0]) < OLDEST) {
  console.error(`steploom needs Node ${OLDEST} or later; this is ${process.versions.node}`);
  process.exit(2);
}
