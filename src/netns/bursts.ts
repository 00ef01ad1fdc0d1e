/**
 * Bucket sizes (`burst`) as tc(8) has to be told them. A bucket is kept as the time that filling it takes, and tool and kernel
 * round that, each in its way: what is shown is a little less than what was asked for, and the same number once more would
 * give less again. So it is asked for what was missing, until that is shown which is wanted.
 */

const SIZE = /\b(c?burst) (\d+)([KMG]?)b\b/g;
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** What was asked for before, by qdisc or class, and word. */
export type Asked = Map<string, number>;

/** The qdisc or class that a line makes: `class add dev eth0 parent 1: classid 1:1`. */
function nameIn(line: string): string | undefined {
  return /^(?:qdisc|class) add dev \S+ .*?\b(?:handle|classid) \S+/.exec(line)?.[0];
}

function sizesIn(line: string): Map<string, number> {
  const sizes = [...line.matchAll(SIZE)];
  return new Map(sizes.map(([, word = '', number, unit = '']) => [word, Number(number) * (UNITS[unit] ?? 1)]));
}

/** `line` with sizes to ask for, where `now` has what became of those before. */
export function withBursts(line: string, now: readonly string[], asked: Asked): string {
  const name = nameIn(line);
  const there = now.find((other) => name !== undefined && nameIn(other) === name);
  const [wanted, shown] = [sizesIn(line), sizesIn(there ?? '')];
  return line.replace(SIZE, (_, word: string) => {
    const bytes = wanted.get(word) ?? 0;
    const before = asked.get(`${name} ${word}`);
    const missing = bytes - (shown.get(word) ?? bytes);
    const size = before === undefined ? bytes : before + missing;
    asked.set(`${name} ${word}`, size);
    return `${word} ${size}b`;
  });
}
