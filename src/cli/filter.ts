/** `--filter K=V` of verbs that list, as docker has it: one of a key's values, for all of the keys. */
import { InvalidInputError } from '../errors.ts';

export type Filters<Row> = Readonly<Record<string, (row: Row) => string>>;

/** Throws InvalidInputError. */
export function parseFilters<Row>(words: readonly string[], known: Filters<Row>): (row: Row) => boolean {
  const filters = words.map((word) => {
    const [key = '', ...value] = word.split('=');
    const of = Object.hasOwn(known, key) ? known[key] : undefined;
    if (of === undefined || value.length === 0) {
      throw new InvalidInputError(
        `cannot use --filter '${word}': not K=V with K one of ${Object.keys(known).join(', ')}`,
      );
    }
    return { of, value: value.join('=') };
  });
  const byKey = [...Map.groupBy(filters, ({ of }) => of)];
  return (row) => byKey.every(([of, wanted]) => wanted.some(({ value }) => value === of(row)));
}
