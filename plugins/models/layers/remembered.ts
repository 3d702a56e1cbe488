/** A pure function that keeps what it gave, up to `most` values before it forgets all. */
export function remembered<K, V extends NonNullable<unknown>>(make: (key: K) => V, most: number): (key: K) => V {
  const known = new Map<K, V>();
  return (key) => {
    let value = known.get(key);
    if (value === undefined) {
      if (known.size >= most) known.clear();
      known.set(key, (value = make(key)));
    }
    return value;
  };
}
