/**
 * The bytes of memory of the machine, or those that its container lets the process have; undefined in a browser, which does not say.
 * Not imported: this runs in pages as well.
 */
export function hostMemory(): number | undefined {
  const { process } = globalThis as { process?: Partial<NodeJS.Process> };
  const total = process?.getBuiltinModule?.('node:os').totalmem();
  if (total === undefined) return undefined;
  // 0 or more than there is, where nothing is said.
  const allowed = process?.constrainedMemory?.() ?? 0;
  return allowed > 0 ? Math.min(total, allowed) : total;
}
