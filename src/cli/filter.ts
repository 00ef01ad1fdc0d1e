/** `--filter K=V` of verbs that list, as docker has it: one of a key's values (of labels all), for all of the keys. */
import { firstLine, InvalidInputError } from '../errors.ts';

type Test<Row> = (row: Row) => boolean;

export interface Filter<Row> {
  /** `word` is what the user wrote. Throws InvalidInputError. */
  readonly parse: (value: string, word: string) => Test<Row>;
  /** All of its values have to be so, and not one. */
  readonly all?: boolean;
}

export type Filters<Row> = Readonly<Record<string, Filter<Row>>>;

/** It is that very word. */
export function exactly<Row>(of: (row: Row) => string | readonly string[]): Filter<Row> {
  return {
    parse: (value) => (row) => {
      const has = of(row);
      return typeof has === 'string' ? has === value : has.includes(value);
    },
  };
}

/** The same of what has only these values. */
export function oneOf<Row>(values: readonly string[], of: (row: Row) => string): Filter<Row> {
  return {
    parse: (value, word) => {
      if (values.includes(value)) return (row) => of(row) === value;
      throw new InvalidInputError(`cannot use --filter '${word}': '${value}' is none of ${values.join(', ')}`);
    },
  };
}

/** A regular expression that is somewhere in it: a part of a name is one, `^web1$` is web1 alone. */
export function matching<Row>(of: (row: Row) => string): Filter<Row> {
  return {
    parse: (value, word) => {
      const pattern = patternOf(value, word);
      return (row) => of(row) === value || pattern.test(of(row));
    },
  };
}

function patternOf(value: string, word: string): RegExp {
  try {
    return new RegExp(value);
  } catch (error) {
    throw new InvalidInputError(`cannot use --filter '${word}': ${firstLine((error as Error).message)}`, {
      hint: "a part of a name, or a regular expression: '^web[0-9]+$'",
    });
  }
}

/** `K`, that it has the label, or `K=V`, that its value is that. */
export function labelled<Row>(of: (row: Row) => Readonly<Record<string, string>>): Filter<Row> {
  return {
    all: true,
    parse: (value) => {
      const [key = '', ...rest] = value.split('=');
      return (row) => {
        const labels = of(row);
        return Object.hasOwn(labels, key) && (rest.length === 0 || labels[key] === rest.join('='));
      };
    },
  };
}

export const BOOLEANS = ['true', 'false'];

/** Throws InvalidInputError. */
export function parseFilters<Row>(words: readonly string[], known: Filters<Row>): Test<Row> {
  const filters = words.map((word) => {
    const [key = '', ...value] = word.split('=');
    const filter = Object.hasOwn(known, key) ? known[key] : undefined;
    if (filter === undefined || value.length === 0) {
      throw new InvalidInputError(
        `cannot use --filter '${word}': not K=V with K one of ${Object.keys(known).join(', ')}`,
      );
    }
    return { filter, test: filter.parse(value.join('='), word) };
  });
  const byKey = [...Map.groupBy(filters, ({ filter }) => filter)];
  return (row) =>
    byKey.every(([{ all }, wanted]) =>
      all ? wanted.every(({ test }) => test(row)) : wanted.some(({ test }) => test(row)),
    );
}
