/** Values by names of any kind, as zod schemas. z.record passes over a `__proto__`, as which variables and labels go, too. */
import * as z from 'zod/mini';

/** An object whose keys and values are as `name` and `value` say; `what` is the message for what is none. */
export function namesTo<V extends z.ZodMiniType>(name: z.ZodMiniType<string, string>, value: V, what?: string) {
  const asMap = z.transform((given) =>
    typeof given === 'object' && given !== null && !Array.isArray(given) ? new Map(Object.entries(given)) : given,
  );
  const asObject = z.transform((map: Map<string, z.output<V>>): Record<string, z.output<V>> => Object.fromEntries(map));
  return z.pipe(z.pipe(asMap, z.map(name, value, what ?? 'Invalid input: expected record')), asObject);
}
