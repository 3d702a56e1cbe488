// Preloaded into a process and its threads: from a second on, Date is an hour later, as after a correction of the machine's clock.
const { now } = Date;
setTimeout(() => {
  Date.now = () => now() + 3_600_000;
}, 1000).unref();
