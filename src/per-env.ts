/**
 * Memory of an isolate: one value per environment, created on first use. Requests of one isolate share it, so it may only
 * hold plain values, never a promise or a stream of a request. Isolates come and go: everything in it can be read again.
 */
export function perEnv<E extends object, T>(create: (env: E) => T): (env: E) => T {
  const values = new WeakMap<E, T>()
  return (env) => {
    let value = values.get(env)
    if (value === undefined) {
      value = create(env)
      values.set(env, value)
    }
    return value
  }
}
